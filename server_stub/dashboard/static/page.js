// What every page does when scripts run; without them it works all the same.

import { fetchPage, takeOver } from "./patch.js";

/** A part with data-refresh="SECONDS" is fetched anew with this page while the tab is visible. */
function keepFresh(part) {
  const seconds = Math.max(2, Number(part.dataset.refresh) || 10);
  const status = document.querySelector(`[data-refresh-status="${part.id}"]`);
  let waiting = 0;
  let running = false;

  function say(text) {
    if (!status) return;
    status.textContent = text;
    status.hidden = !text;
  }

  async function refresh() {
    if (running || document.visibilityState !== "visible" || isInUse(part)) return;
    running = true;
    try {
      const page = await fetchPage(location.href);
      if (page === null) { location.reload(); return; }
      const fresh = page.getElementById(part.id);
      if (fresh && !isInUse(part)) takeOver(part, fresh);
      say("");
      waiting = 0;
    } catch {
      waiting = Math.min(waiting + 1, 6);
      say("The server does not answer; what is shown may be old.");
    } finally {
      running = false;
    }
  }

  let beat = 0;
  setInterval(() => { beat += 1; if (beat % (1 + waiting) === 0) refresh(); }, seconds * 1000);
  document.addEventListener("visibilitychange", refresh);
}

/** Nobody's typing or selection is taken away; opened details stay open by themselves. */
function isInUse(part) {
  const selection = document.getSelection();
  if (selection && !selection.isCollapsed && part.contains(selection.anchorNode)) return true;
  const active = document.activeElement;
  return part.contains(active) && /^(INPUT|SELECT|TEXTAREA)$/.test(active.tagName);
}

/** A form with data-confirm asks before it is sent. */
function askFirst(event) {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
}

const SENT_MS = 5000; // within which a form is not sent a second time
const sent = new WeakSet();

/** A second click while the server is slow to answer must not run a script twice. */
function sendOnce(event) {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (sent.has(form)) event.preventDefault();
  sent.add(form);
  setTimeout(() => sent.delete(form), SENT_MS);
}

/** A button with data-copy="ID" copies the text of that element. */
async function copyText(event) {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  } catch {
    document.getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
  }
}

document.querySelectorAll("[data-refresh]").forEach(keepFresh);
document.addEventListener("submit", askFirst);
document.addEventListener("submit", sendOnce);
document.addEventListener("click", copyText);
document.querySelectorAll("button[data-copy]").forEach((button) => { button.hidden = false; });
document.documentElement.dataset.script = "on";
