// The 256 colours of a terminal, on the dark ground that output has in a light page as well as in a dark one.

/** The ground of the panel; tasks.css has it as --terminal. */
export const PANEL = [22, 24, 29];
const READABLE = 4.5; // the lowest contrast (WCAG 2) of coloured text on the panel

// prettier-ignore
const SIXTEEN = [
  [43, 47, 54], [224, 82, 82], [93, 176, 90], [212, 166, 61], [92, 145, 232], [197, 116, 205], [70, 178, 186], [208, 212, 218],
  [116, 122, 133], [255, 123, 114], [126, 211, 122], [242, 204, 96], [130, 178, 255], [225, 155, 232], [103, 214, 221], [255, 255, 255],
];
const STEPS = [0, 95, 135, 175, 215, 255]; // of the 6 x 6 x 6 cube of xterm

function cube(index) {
  return [STEPS[Math.floor(index / 36)], STEPS[Math.floor(index / 6) % 6], STEPS[index % 6]];
}

function grey(index) {
  return Array(3).fill(8 + 10 * index);
}

/** Red, green and blue (0 to 255) of every colour. */
export const PALETTE = Array.from({ length: 256 }, (_, index) => {
  if (index < 16) return SIXTEEN[index];
  return index < 232 ? cube(index - 16) : grey(index - 232);
});

/** The colours as text on the panel: those that were too dark for it are made lighter. */
export const TEXT = PALETTE.map((colour) => {
  let lighter = colour;
  for (let part = 0; contrast(lighter, PANEL) < READABLE; part += 0.05) {
    lighter = colour.map((value) => Math.round(value + (255 - value) * part));
  }
  return lighter;
});

/** The colour of the cube or the greys that is nearest to a mixture (each part 0 to 255). */
export function nearest(red, green, blue) {
  const [r, g, b] = [red, green, blue].map(nearestStep);
  const level = Math.max(0, Math.min(23, Math.round(((red + green + blue) / 3 - 8) / 10)));
  const distance = (colour) => (colour[0] - red) ** 2 + (colour[1] - green) ** 2 + (colour[2] - blue) ** 2;
  const inCube = 16 + 36 * r + 6 * g + b;
  return distance(PALETTE[inCube]) <= distance(grey(level)) ? inCube : 232 + level;
}

function nearestStep(value) {
  return STEPS.reduce((best, step, at) => (Math.abs(step - value) < Math.abs(STEPS[best] - value) ? at : best), 0);
}

/** The contrast of two colours, 1 to 21 (WCAG 2, relative luminance). */
export function contrast(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

function luminance(colour) {
  const [red, green, blue] = colour.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** CSS rules: `f0` to `f255` colour text, `b0` to `b255` its ground, below `scope`. */
export function rules(scope) {
  const value = (colour) => `rgb(${colour.join(" ")})`;
  const text = TEXT.map((colour, index) => `${scope} .f${index}{color:${value(colour)}}`);
  const ground = PALETTE.map((colour, index) => `${scope} .b${index}{background:${value(colour)}}`);
  return [...text, ...ground].join("\n");
}
