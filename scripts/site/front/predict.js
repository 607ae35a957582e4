// Prediction questions: the reader commits first, then reads the answer. Without scripts the answer is a fold.
export function startQuestions() {
  for (const question of document.querySelectorAll(".predict")) {
    const answer = question.querySelector("details"), buttons = [...question.querySelectorAll("button")];
    const verdict = question.querySelector(".verdict");
    answer.hidden = true;
    for (const button of buttons) button.addEventListener("click", () => {
      const right = button.value === question.dataset.right;
      buttons.forEach((own) => own.setAttribute("aria-pressed", String(own === button)));
      question.dataset.answered = right ? "right" : "wrong";
      verdict.textContent = right ? "Yes." : "Not so.";
      answer.hidden = false;
      answer.open = true;
    });
  }
}
