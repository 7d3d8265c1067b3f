// Makes a part of the page what a fresh copy of it says, changing only what differs: nothing flickers, and focus,
// selection and opened details stay.

export function takeOver(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  const samePlace = old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && old.id === fresh.id;
  if (!samePlace) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = fresh.nodeValue;
    return;
  }
  takeOverAttributes(old, fresh);
  takeOverChildren(old, fresh);
}

/** Children with an id stay the elements that they are, wherever the others go: the focus on a row must not slip to the
 * row that has taken its place. */
function takeOverChildren(old, fresh) {
  const after = [...fresh.childNodes];
  const wanted = new Set(after.map((child) => child.id).filter(Boolean));
  const isGone = (child) => Boolean(child.id) && !wanted.has(child.id);
  [...old.childNodes].filter(isGone).forEach((child) => child.remove());
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let place = old.firstChild;
  for (const child of after) {
    const same = child.id ? known.get(child.id) : place && !place.id ? place : undefined;
    if (same === undefined) {
      old.insertBefore(child, place);
      continue;
    }
    while (place !== same && place !== null && !place.id) place = removed(place);
    if (place === same) place = place.nextSibling;
    else old.insertBefore(same, place);
    takeOver(same, child);
  }
  while (place !== null) place = removed(place);
}

/** The sibling behind what is removed. */
function removed(child) {
  const next = child.nextSibling;
  child.remove();
  return next;
}

function takeOverAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
}

/** The document behind an address of ours; null when it leads to the sign-in. Rejects when the server fails. */
export async function fetchPage(address, options = {}) {
  const answer = await fetch(address, { redirect: "manual", signal: AbortSignal.timeout(8000), ...options });
  if (answer.type === "opaqueredirect") return null;
  if (answer.status >= 500) throw new Error(`status ${answer.status}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}
