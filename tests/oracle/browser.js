// What browser.py runs in the page. The page itself has no script.

function texts(selector, attribute) {
  return [...document.querySelectorAll(selector)].map((found) => [found.getAttribute(attribute), found.textContent]);
}

function lookAtPage() {
  const charts = [...document.querySelectorAll("svg[role=img]")].map((chart) => ({
    title: chart.getAttribute("aria-labelledby") && document.getElementById(chart.getAttribute("aria-labelledby")).textContent,
    has_table: chart.closest("section").querySelector("table td") !== null,
  }));
  return {
    cells: texts("[data-path]", "data-path"),
    reckoned: texts("[data-value]", "data-value"),
    report: document.getElementById("report").textContent,
    headings: [...document.querySelectorAll("h1, h2, h3")].map((found) => found.tagName),
    charts,
    tables_without_caption: [...document.querySelectorAll("table")].filter((table) => !table.caption).length,
    headers_without_scope: document.querySelectorAll("th:not([scope])").length,
  };
}

// Tables that are not shown as the page is now, wherever they are folded away.
function foldedTables() {
  const shown = (table) => table.checkVisibility({ contentVisibilityAuto: true }) && table.getBoundingClientRect().height > 20;
  return [...document.querySelectorAll("table")].filter((table) => !shown(table)).map((table) => table.caption.textContent);
}

function lookAtView() {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
  const seen = {
    scroll_width: document.scrollingElement.scrollWidth,
    // Without the bar at its side.
    client_width: document.documentElement.clientWidth,
    ground: getComputedStyle(document.body).backgroundColor,
    least_contrast: leastContrast(),
  };
  for (const folded of document.querySelectorAll("details")) folded.open = false;
  return seen;
}

// Contrast as WCAG 2 reckons it: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
function luminance([red, green, blue]) {
  const part = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * part(red) + 0.7152 * part(green) + 0.0722 * part(blue);
}

function leastContrast() {
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  let least = { ratio: 99 };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script, title") || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const text = luminance(channels(element instanceof SVGElement ? style.fill : style.color));
    let behind = element;
    while (channels(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
    const ground = luminance(channels(getComputedStyle(behind).backgroundColor));
    const ratio = (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
    if (ratio < least.ratio) least = { ratio, text: walker.currentNode.data.slice(0, 60) };
  }
  return least;
}
