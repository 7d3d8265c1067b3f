// The form of a new task: shows what its nodes would say while it is written, and lets Tab indent in the editor.

import { fetchPage, takeOver } from "./patch.js";

const QUIET_MS = 600; // without a key before the server is asked
const form = document.getElementById("new-task");
const editor = document.getElementById("script");
const preview = document.getElementById("preview");
let timer = null;
let asked = 0;

async function look() {
  const number = ++asked;
  // A button is named "action", too, and would be what form.action says.
  const body = new URLSearchParams([...new FormData(form), ["action", "look"]]);
  try {
    const fresh = await fetchPage(form.getAttribute("action"), { method: "POST", body });
    const part = fresh?.getElementById(preview.id);
    if (part && number === asked) takeOver(preview, part);
  } catch {
    // The button asks the same, and says what is wrong.
  }
}

form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(look, QUIET_MS);
});

// Who works by keyboard can leave: after Escape the next Tab goes on to the next field, and Shift+Tab always goes back.
let leaving = false;
editor.addEventListener("keydown", (event) => {
  if (event.key === "Tab" && !event.shiftKey && !leaving && !event.ctrlKey && !event.altKey && !event.metaKey) {
    event.preventDefault();
    // Deprecated, but the only way that Undo knows of.
    if (!document.execCommand("insertText", false, "\t")) editor.setRangeText("\t", editor.selectionStart, editor.selectionEnd, "end");
  }
  leaving = event.key === "Escape";
});
document.getElementById("tab-hint").hidden = false;
