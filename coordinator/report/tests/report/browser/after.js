// Does to a finished page what readers do, and tells the page around it what came of it.
"use strict";
(async () => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const wrong = [];
  const expect = (holds, what) => holds || wrong.push(what);

  // Nothing is wider than the page.
  const page = document.documentElement;
  const wide = page.scrollWidth - page.clientWidth;
  for (const details of all("details")) details.open = true;
  expect(page.scrollWidth <= page.clientWidth, `with everything open the page scrolls sideways by ${page.scrollWidth - page.clientWidth} px`);

  // Words stand out from what is behind them (WCAG 2.2, 1.4.3: 4.5 to 1, large ones 3 to 1).
  const rgb = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  // In a figure the last box that was drawn under the words, such as the cell of a heat map.
  const box = (element) => {
    if (!(element instanceof SVGElement)) return undefined;
    const { left, right, top, bottom } = element.getBoundingClientRect();
    const under = (rect) => {
      const r = rect.getBoundingClientRect();
      const [x, y] = [(left + right) / 2, (top + bottom) / 2];
      return r.left <= x && x <= r.right && r.top <= y && y <= r.bottom && getComputedStyle(rect).fill !== "none";
    };
    return all("rect", element.ownerSVGElement).findLast(under);
  };
  const behind = (element) => {
    const cell = box(element);
    if (cell) return rgb(getComputedStyle(cell).fill);
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  let contrasts = 0;
  const faint = new Map();
  for (const element of all("body *")) {
    // A character that is no letter or number, such as an arrow at an axis's end, is a mark and not a word.
    const words = [...element.childNodes].some((node) => node.nodeType === 3 && /[\p{L}\p{N}]/u.test(node.textContent));
    if (!words || element.closest("script,.hidden,.skip,[hidden]") || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const colour = rgb(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(colour), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    contrasts += 1;
    if (ratio < (large ? 3 : 4.5)) faint.set(`${element.tagName}.${element.getAttribute("class") ?? ""} in ${element.closest("figure,section,header,nav,footer")?.id}`, ratio.toFixed(2));
  }

  // Whatever can be used has a name for those who don't see it.
  for (const element of all("button,a[href],summary,[tabindex='0'],svg[role=img]")) {
    expect((element.getAttribute("aria-label") ?? element.textContent).trim(), `a ${element.tagName} without a name`);
  }

  // Legends hide and show their series.
  const figures = all("figure.figure");
  for (const folded of all("figure.figure details")) folded.open = true;
  let toggled = 0;
  for (const figure of figures) {
    for (const item of all(".keys li[data-s]", figure)) {
      const drawn = all(".panels [data-s]", figure).filter((group) => group.dataset.s === item.dataset.s);
      const button = item.querySelector("button");
      expect(drawn.length, `${figure.id}: nothing is drawn for ${item.dataset.s}`);
      button.click();
      expect(drawn.every((group) => getComputedStyle(group).display === "none"), `${figure.id}: ${item.dataset.s} is not hidden`);
      expect(button.getAttribute("aria-pressed") === "false", `${figure.id}: ${item.dataset.s} doesn't say that it is hidden`);
      button.click();
      expect(drawn.every((group) => getComputedStyle(group).display !== "none"), `${figure.id}: ${item.dataset.s} is not shown again`);
      toggled += 1;
    }
  }

  // Points tell their numbers under the pointer and at the keyboard.
  const tip = document.querySelector("#tip");
  let told = 0;
  for (const figure of figures) {
    const marks = JSON.parse(figure.querySelector("script.marks").textContent);
    all(".panels svg", figure).forEach((svg, panel) => {
      const [, points] = marks[panel];
      if (!points.length) return;
      const rect = svg.getBoundingClientRect();
      const scale = rect.width / svg.viewBox.baseVal.width;
      const [x, y, , words] = points[0];
      const at = { clientX: rect.left + x * scale, clientY: rect.top + y * scale };
      svg.dispatchEvent(new PointerEvent("pointermove", at));
      const same = points.filter((p) => Math.hypot(p[0] - x, p[1] - y) < 1e-6).map((p) => p[3]);
      expect(!tip.hidden && same.includes(tip.textContent), `${figure.id}: at its first point stands "${tip.textContent}", not "${words}"`);
      const box = tip.getBoundingClientRect();
      expect(box.left >= 0 && box.right <= page.clientWidth, `${figure.id}: the numbers stand outside the page`);
      svg.dispatchEvent(new PointerEvent("pointerleave"));
      expect(tip.hidden, `${figure.id}: the numbers stay when the pointer has left`);
      svg.dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
      expect(!tip.hidden && tip.textContent, `${figure.id}: the keyboard finds no point`);
      svg.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
      told += 1;
    });
  }

  // Tables sort, both ways.
  let sorted = 0;
  const number = (cell) => {
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    return Number(cell.textContent.trim().replaceAll("−", "-").replaceAll(",", "").match(/[-+]?\d+\.?\d*/)?.[0] ?? NaN);
  };
  for (const table of all("main table")) {
    const rows = table.tBodies[0].rows.length;
    all("thead th", table).forEach((head, column) => {
      for (const _ of [0, 1]) {
        head.querySelector("button").click();
        const way = head.getAttribute("aria-sort");
        const cells = [...table.tBodies[0].rows].map((row) => row.cells[column]);
        expect(cells.length === rows, "sorting loses rows");
        expect(all("thead th[aria-sort]:not([aria-sort=none])", table).length === 1, "two columns say that they are sorted by");
        if (!head.classList.contains("num")) continue;
        const numbers = cells.map(number).filter((n) => !Number.isNaN(n));
        const ordered = numbers.every((n, i) => !i || (way === "descending" ? n <= numbers[i - 1] : n >= numbers[i - 1]));
        expect(ordered, `${table.caption.textContent}: ${head.textContent} is not ${way}`);
        sorted += 1;
      }
    });
  }

  // Every figure can be saved as SVG and PNG.
  const saved = [];
  // Reading a saved file would wait for more than this page: what it is written of is looked at instead.
  const written = [];
  const serialize = XMLSerializer.prototype.serializeToString;
  XMLSerializer.prototype.serializeToString = function (root) {
    written.push(serialize.call(this, root));
    return written.at(-1);
  };
  const click = HTMLAnchorElement.prototype.click;
  HTMLAnchorElement.prototype.click = function () {
    this.download ? saved.push([this.download, this.href]) : click.call(this);
  };
  const drawings = new Map();
  for (const figure of figures) {
    const before = written.length;
    for (const button of all(".save button", figure)) button.click();
    drawings.set(figure, written.slice(before));
  }
  for (let wait = 0; saved.length < 2 * figures.length && wait < 100; wait += 1) await new Promise((done) => setTimeout(done, 50));
  expect(saved.length === 2 * figures.length, `${saved.length} files of ${figures.length} figures were saved`);
  expect(saved.every(([, link]) => link.startsWith("blob:")), "a figure is saved from elsewhere than this page");

  // What is saved has the marks of its key: bars of sampling seeds too, each drawn as one.
  let bars = 0;
  for (const figure of figures) {
    const keys = all(".keys li .key", figure);
    const spans = keys.filter((key) => key.matches(".span")).length;
    const lines = keys.filter((key) => !key.matches(".span,.points,.ring")).length;
    expect(drawings.get(figure).length === 2, `${figure.id}: ${drawings.get(figure).length} drawings of an SVG and a PNG`);
    for (const text of drawings.get(figure)) {
      const drawn = [...new DOMParser().parseFromString(text, "image/svg+xml").documentElement.children];
      const count = (name) => drawn.filter((element) => element.tagName === name).length;
      expect(count("path") === spans, `${figure.id}: ${count("path")} bars of ${spans} are saved`);
      expect(count("line") === lines, `${figure.id}: ${count("line")} lines of ${lines} are saved`);
    }
    bars += spans;
  }

  // The page itself fetched nothing.
  const fetched = performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !/^(data|blob):/.test(name));
  parent.postMessage(JSON.stringify({
    errors: found.errors, wrong, fetched, wide, contrasts, toggled, told, sorted, bars, saved: saved.length,
    faint: [...faint].map(([where, ratio]) => `${where}: ${ratio}`),
    width: page.clientWidth, dark: matchMedia("(prefers-color-scheme: dark)").matches, figures: figures.length, tables: all("main table").length,
  }), "*");
})();
