// What a page owes to those who do not see it, see it badly, or have no mouse. Evaluates to sentences about what is wrong.
() => {
  const LEAST_CONTRAST = 4.5; // WCAG 2, text of any size
  const brush = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });

  /** Red, green, blue (0 to 255) and alpha (0 to 1) of any CSS colour, as the browser itself understands it. */
  function rgba(colour) {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = brush.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  }

  function over([red, green, blue, alpha], ground) {
    return [red, green, blue].map((value, at) => value * alpha + ground[at] * (1 - alpha)).concat(1);
  }

  function lineage(element) {
    const found = [];
    for (let one = element; one; one = one.parentElement) found.unshift(one);
    return found;
  }

  function groundOf(element) {
    const canvas = matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0, 1] : [255, 255, 255, 1];
    return lineage(element).reduce((ground, one) => over(rgba(getComputedStyle(one).backgroundColor), ground), canvas);
  }

  function luminance(colour) {
    const [red, green, blue] = colour.map((value) => value / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }

  function contrast(element, pseudo) {
    const style = getComputedStyle(element, pseudo);
    const opacity = lineage(element).reduce((product, one) => product * Number(getComputedStyle(one).opacity), 1);
    const colour = rgba(element instanceof SVGElement ? style.fill : style.color);
    const ground = groundOf(element);
    const seen = over([...colour.slice(0, 3), colour[3] * opacity], ground);
    const [light, dark] = [luminance(seen), luminance(ground)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  }

  function named(element) {
    const text = (element.textContent || element.getAttribute("aria-label") || "").trim().replace(/\s+/g, " ").slice(0, 40);
    const class_ = element.getAttribute("class") || "";
    return `<${element.tagName.toLowerCase()}${element.id ? `#${element.id}` : ""}${class_ ? `.${class_.replaceAll(" ", ".")}` : ""}> ${JSON.stringify(text)}`;
  }

  const isSeen = (element) => element.checkVisibility({ checkVisibilityCSS: true, contentVisibilityAuto: true }) && !element.closest(".hidden");
  const all = (selector) => [...document.querySelectorAll(selector)];
  const wrong = [];

  for (const field of all("input:not([type=hidden]), select, textarea")) {
    const labels = [...(field.labels ?? [])].map((label) => label.textContent.trim());
    if (!labels.some(Boolean) && !field.getAttribute("aria-label")) wrong.push(`no label: ${named(field)} ${field.name}`);
  }
  for (const control of all("button, a[href], summary, [role=img], [role=region], figure img")) {
    const by = (control.getAttribute("aria-labelledby") ?? "").split(/\s+/).filter(Boolean);
    const name = control.getAttribute("aria-label") || by.map((id) => document.getElementById(id)?.textContent).join("") || control.textContent;
    if (!name.trim()) wrong.push(`no name: ${named(control)}`);
  }
  const headings = all("h1, h2, h3, h4").filter((one) => one.checkVisibility());
  if (headings.filter((one) => one.tagName === "H1").length !== 1) wrong.push(`not one h1: ${headings.map(named)}`);
  headings.reduce((before, one) => {
    const level = Number(one.tagName[1]);
    if (level > before + 1) wrong.push(`a level is left out before ${named(one)}`);
    return level;
  }, 0);
  const ids = all("[id]").map((one) => one.id);
  for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) wrong.push(`the id ${id} is there more than once`);
  for (const attribute of ["for", "aria-describedby", "aria-labelledby", "aria-controls", "list"]) {
    for (const one of all(`[${attribute}]`)) {
      for (const id of one.getAttribute(attribute).split(/\s+/)) {
        if (!document.getElementById(id)) wrong.push(`${attribute} of ${named(one)} leads nowhere: ${id}`);
      }
    }
  }
  if (!document.documentElement.lang) wrong.push("no language");
  if (!document.title.trim() || !document.querySelector("main")) wrong.push("no title or no main part");
  for (const table of all("table")) {
    if (!table.querySelector("th[scope=col]")) wrong.push(`a table without heads: ${named(table)}`);
  }

  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !isSeen(element) || element.closest("script, style, title, option, :disabled")) continue;
    const found = contrast(element);
    if (found < LEAST_CONTRAST) wrong.push(`contrast ${found.toFixed(2)}: ${named(element)}`);
  }
  for (const field of all("input, select, textarea").filter(isSeen)) {
    if (contrast(field) < LEAST_CONTRAST) wrong.push(`contrast ${contrast(field).toFixed(2)}: ${named(field)}`);
    if (field.placeholder && contrast(field, "::placeholder") < LEAST_CONTRAST) wrong.push(`contrast ${contrast(field, "::placeholder").toFixed(2)}: placeholder of ${named(field)}`);
  }
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) wrong.push(`${wide} px too wide`);
  return [...new Set(wrong)];
}
