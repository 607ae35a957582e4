"""The exercises of notebooks/04_imagenet."""

from __future__ import annotations

from normkd_explore.exercises.exercise import Exercise, near

EXERCISES: dict[str, Exercise] = {
    "04-cache": Exercise(
        right=near(162 * 50_000 * 100 * 4 / 1e9),
        praise="Right: 3.24 GB, less than a film. Every later epoch, method and seed gets its teacher for nothing.",
        hints=(
            (near(50_000 * 100 * 4 / 1e9), "That is one view of each image. There are 162."),
            (near(162 * 50_000 * 100 / 1e9), "That counts the numbers. Each takes 4 bytes."),
            (near(162 * 50_000 * 100 * 4), "In GB, please: divide the bytes by 10^9."),
        ),
        general="Not yet. Views times images times classes times bytes.",
    ),
    "04-memory": Exercise(
        right=lambda answer: answer == "activations",
        praise="Right: every layer's input is kept for every image of the batch, and the batch has 512 images.",
        hints=(
            (
                lambda answer: answer in ("weights", "momentum"),
                "11.7 million numbers of 4 bytes: 47 MB. How many leave the first layer, 64 x 112 x 112 an image?",
            ),
        ),
        general='Not yet. The answer is "weights", "momentum" or "activations".',
    ),
    "04-limit": Exercise(
        right=lambda answer: answer == "student",
        praise="Right: 1 / (1/3000 + 1/2000) = 1200 images a second, less than decoding gives; the student takes most.",
        hints=(
            (lambda answer: answer == "decoding", "Decoding gives 1600. What do the networks do in turns, together?"),
            (lambda answer: answer == "teacher", "The teacher is the faster of the two networks here."),
        ),
        general='Not yet. The answer is "decoding", "teacher" or "student".',
    ),
    "04-hours": Exercise(
        right=near(100 * 1_281_167 * (1 / 3000 + 1 / 2000) / 3600),
        praise="Right: some 30 hours, at 1200 images a second.",
        hints=(
            (near(100 * 1_281_167 / 1600 / 3600), "That is decoding alone. The networks are slower: 1200 a second."),
            (near(100 * 1_281_167 / 2000 / 3600), "That is the student alone. The teacher takes its turn too."),
            (near(1_281_167 / 1200 / 3600), "That is one epoch. The recipe has 100."),
            (near(100 * 1_281_167 / 5000 / 3600), "Times add up, not rates: 1/3000 + 1/2000 seconds an image."),
        ),
        general="Not yet. Images of all epochs, divided by images a second, divided by 3600.",
    ),
    "04-share": Exercise(
        right=near(512 / 4),
        praise="Right: the batch belongs to the recipe and is shared, so a step does the same as on one GPU.",
        hints=((near(512), "Then a step would see 2048 images: another recipe. The batch counts all processes."),),
    ),
    "04-rate": Exercise(
        right=near(0.2),
        praise="Right: gradients are averaged over the same 512 images, so nothing about the step changes.",
        hints=((near(0.8), "Scaling belongs to a larger batch. Here the whole batch stays 512."),),
        general="Not yet. What would the same 512 images on one GPU be given?",
    ),
    "04-decoding": Exercise(
        right=near(8 / (1 / 3000 + 1 / 2000)),
        praise="Right: 8 x 1200 = 9600. That is why large machines store images small, or decode on the GPU.",
        hints=(
            (near(1200), "That is enough for one GPU."),
            (near(8 * 1600), "How fast are the networks on one GPU?"),
        ),
    ),
}
