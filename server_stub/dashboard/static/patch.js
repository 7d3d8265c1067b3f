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
  const before = [...old.childNodes];
  const after = [...fresh.childNodes];
  after.forEach((child, place) => (place < before.length ? takeOver(before[place], child) : old.append(child)));
  before.slice(after.length).forEach((child) => child.remove());
}

function takeOverAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
}

/** The document behind an address of ours; null when it leads to the sign-in. */
export async function fetchPage(address, options = {}) {
  const answer = await fetch(address, { redirect: "manual", signal: AbortSignal.timeout(8000), ...options });
  if (answer.type === "opaqueredirect") return null;
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}
