// Keeps what a task's page says of its state fresh: told of changes by /api/v1/tasks/{id}/events, it takes over the part
// that the server renders anew.

import { fetchPage, takeOver } from "./patch.js";
import { VisibleStream } from "./visible_stream.js";

const PAUSE_MS = 500; // between two looks, however fast a task changes
const state = document.getElementById("task-state");
let looking = false;
let again = false;

async function look() {
  again = looking;
  if (looking) return;
  looking = true;
  try {
    const fresh = await fetchPage(state.dataset.from);
    if (fresh === null) location.reload();
    const part = fresh?.getElementById(state.id);
    if (part) takeOver(state, part);
  } catch {
    again = true; // the server does not answer now
  }
  setTimeout(() => {
    looking = false;
    if (again) look();
  }, PAUSE_MS);
}

if (state.dataset.events) {
  const stream = new VisibleStream(() => state.dataset.events, {
    task: look,
    end: () => {
      stream.end();
      look();
    },
  });
}
