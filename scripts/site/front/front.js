// The article's figures are put where their pictures stand. Each is made when its place comes near the screen, so that
// the first view is not kept waiting.
import { createCloud } from "./cloud.js";
import { createLens } from "./lens.js";
import { startQuestions } from "./predict.js";
import { createProduct } from "./product.js";
import { createPull } from "./pull.js";
import { createReplay } from "./replay.js";
import { createRounded } from "./rounded.js";
import { createTwoClasses } from "./twoclasses.js";

const FIGURES = {
  lens: createLens, cloud: createCloud, pull: createPull, product: createProduct, replay: createReplay,
  twoclasses: createTwoClasses, rounded: createRounded,
};

const frontData = JSON.parse(document.getElementById("article").textContent);

function bringToLife(place) {
  const root = FIGURES[place.dataset.live](frontData);
  place.querySelector(".still").replaceWith(root);
}

const nearScreen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) {
    nearScreen.unobserve(target);
    bringToLife(target);
  }
}, { rootMargin: "600px" });

startQuestions();
document.querySelectorAll("[data-live]").forEach((place) => nearScreen.observe(place));
// Printing shows all of them.
addEventListener("beforeprint", () => document.querySelectorAll("[data-live] > .still").forEach((still) => bringToLife(still.parentNode)));
