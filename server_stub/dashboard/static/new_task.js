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
    if (number !== asked) return;
    if (part) takeOver(preview, part);
    else await renew();
  } catch {
    // The button asks the same, and says what is wrong.
  }
}

/** The session that the form belongs to has ended. What was written must not be lost with it: once somebody has signed in
 * again, in another tab, this form goes on in the new session. */
async function renew() {
  const page = await fetchPage(form.getAttribute("action"));
  const token = page?.querySelector("#new-task [name=csrf]")?.value;
  const mine = form.querySelector("[name=csrf]");
  if (token === undefined) say("You are signed out. Sign in in another tab, then write on here: nothing is lost.");
  else if (token !== mine.value) {
    mine.value = token;
    look();
  }
}

function say(text) {
  const note = document.createElement("p");
  note.className = "notice warn";
  note.textContent = text;
  preview.replaceChildren(preview.querySelector("h2"), note);
}

form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(look, QUIET_MS);
});

// Who comes back to the tab after a night hears of an ended session before the script is sent.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && editor.value.trim()) look();
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
