// What SGR (ECMA-48 8.3.117 and the colours of xterm) makes of a style, and the CSS classes of a style.
//
// Concealed text (8) and blinking (5, 6) are not obeyed: a script must not hide what it prints, nor flicker. For the
// same reason text whose colour is too near to its ground is shown in black or white.

import { contrast, nearest, PALETTE, TEXT } from "./palette.js";

export const PLAIN_STYLE = Object.freeze({
  colour: null, // of the text, 0 to 255
  ground: null,
  bold: false,
  dim: false,
  italic: false,
  underline: false,
  strike: false,
  inverse: false,
});

const SWITCHES = {
  1: { bold: true },
  2: { dim: true },
  3: { italic: true },
  4: { underline: true },
  7: { inverse: true },
  9: { strike: true },
  21: { underline: true },
  22: { bold: false, dim: false },
  23: { italic: false },
  24: { underline: false },
  27: { inverse: false },
  29: { strike: false },
  39: { colour: null },
  49: { ground: null },
};

const READABLE = 3; // the lowest contrast (WCAG 2) of text on a ground of its own

/** The style after an SGR sequence with these parameters ("1;31", "38:5:9"). */
export function applied(style, parameters) {
  const fields = parameters.split(";");
  let now = style;
  for (let at = 0; at < fields.length; ) {
    const parts = fields[at].split(":");
    const code = Number(parts[0]);
    if (code === 38 || code === 48 || code === 58) {
      const [colour, used] = parts.length > 1 ? [colonColour(parts), 1] : semicolonColour(fields, at);
      if (colour !== null && code !== 58) now = { ...now, [code === 38 ? "colour" : "ground"]: colour };
      at += used;
    } else {
      now = switched(now, code, parts);
      at += 1;
    }
  }
  return now;
}

function switched(style, code, parts) {
  if (code === 0) return PLAIN_STYLE;
  if (code === 4 && parts[1] === "0") return { ...style, underline: false };
  if (code in SWITCHES) return { ...style, ...SWITCHES[code] };
  if (code >= 30 && code <= 37) return { ...style, colour: code - 30 };
  if (code >= 40 && code <= 47) return { ...style, ground: code - 40 };
  if (code >= 90 && code <= 97) return { ...style, colour: code - 90 + 8 };
  if (code >= 100 && code <= 107) return { ...style, ground: code - 100 + 8 };
  return style;
}

/** Of "38:5:n" and "38:2:space:r:g:b" (the colour space may be left out, colon and all). */
function colonColour(parts) {
  if (parts[1] === "5") return indexed(parts[2]);
  if (parts[1] === "2") return mixed(parts.length > 5 ? parts.slice(3, 6) : parts.slice(2, 5));
  return null;
}

/** The colour of "38;5;n" or "38;2;r;g;b", and how many fields it took. */
function semicolonColour(fields, at) {
  if (fields[at + 1] === "5") return [indexed(fields[at + 2]), 3];
  if (fields[at + 1] === "2") return [mixed(fields.slice(at + 2, at + 5)), 5];
  return [null, 1];
}

function indexed(field) {
  const index = Number(field);
  return index <= 255 ? index : null;
}

function mixed(fields) {
  const [red, green, blue] = fields.map(Number);
  return red <= 255 && green <= 255 && blue <= 255 ? nearest(red, green, blue) : null;
}

/** The CSS classes of a style, in one string; empty for the plain one. */
export function classes(style) {
  const [colour, ground] = style.inverse ? [style.ground ?? 0, style.colour ?? 7] : [style.colour, style.ground];
  const found = [];
  if (ground !== null) found.push(`b${ground}`, textOn(colour ?? 7, ground));
  else if (colour !== null) found.push(`f${colour}`);
  for (const name of ["bold", "dim", "italic", "underline", "strike"]) if (style[name]) found.push(name);
  return found.join(" ");
}

function textOn(colour, ground) {
  if (contrast(TEXT[colour], PALETTE[ground]) >= READABLE) return `f${colour}`;
  const black = contrast([0, 0, 0], PALETTE[ground]);
  return black >= contrast([255, 255, 255], PALETTE[ground]) ? "black" : "white";
}
