"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (name, attributes = {}, ...children) => {
    const element = name.startsWith("svg:")
      ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4))
      : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  document.documentElement.classList.add("js");

  // What lies under the pointer, or at the keyboard's cursor.
  const tip = make("div", { id: "tip", role: "status", "aria-live": "polite", hidden: "" });
  document.body.append(tip);
  const place = (box, x, y) => {
    const room = document.documentElement.clientWidth;
    tip.style.left = `${Math.max(8, Math.min(x - tip.offsetWidth / 2, room - tip.offsetWidth - 8)) + scrollX}px`;
    const above = y - tip.offsetHeight - 14;
    tip.style.top = `${(above < 8 ? y + 18 : above) + scrollY}px`;
  };

  const panel = (svg, [names, points], hidden) => {
    if (!points.length) return;
    const box = svg.viewBox.baseVal;
    const cursor = make("svg:circle", { r: 6, class: "cursor" });
    let current = null;
    const shown = () => points.filter((p) => p[2] < 0 || !hidden.has(names[p[2]]));
    const show = (point) => {
      current = point;
      tip.hidden = !point;
      if (!point) return cursor.remove();
      cursor.setAttribute("cx", point[0]);
      cursor.setAttribute("cy", point[1]);
      svg.append(cursor);
      tip.textContent = point[3];
      const rect = svg.getBoundingClientRect();
      const scale = rect.width / box.width;
      place(rect, rect.left + point[0] * scale, rect.top + point[1] * scale);
    };
    const nearest = (x, y, among, reach) => {
      let best = null;
      for (const point of among) {
        const distance = Math.hypot(point[0] - x, point[1] - y);
        if (distance <= reach) [best, reach] = [point, distance];
      }
      return best;
    };
    const under = (event) => {
      const rect = svg.getBoundingClientRect();
      const scale = box.width / rect.width;
      show(nearest((event.clientX - rect.left) * scale, (event.clientY - rect.top) * scale, shown(), 28));
    };
    svg.addEventListener("pointermove", under);
    svg.addEventListener("pointerdown", under);
    svg.addEventListener("pointerleave", () => show(null));
    svg.addEventListener("blur", () => show(null));
    svg.setAttribute("tabindex", "0");
    svg.setAttribute("aria-label", `${svg.getAttribute("aria-label")}. Arrow keys read out its points.`);
    svg.addEventListener("keydown", (event) => {
      const among = shown();
      if (!among.length) return;
      const series = current ? among.filter((p) => p[2] === current[2]) : among;
      const at = current ? series.indexOf(current) : -1;
      const other = (step) => {
        const numbers = [...new Set(among.map((p) => p[2]))];
        if (!current || numbers.length < 2) return series[Math.max(0, Math.min(series.length - 1, at + step))];
        const next = numbers[(numbers.indexOf(current[2]) + step + numbers.length) % numbers.length];
        return nearest(current[0], current[1], among.filter((p) => p[2] === next), Infinity);
      };
      const moves = {
        ArrowRight: () => series[Math.min(series.length - 1, at + 1)],
        ArrowLeft: () => series[Math.max(0, at - 1)],
        ArrowDown: () => other(1),
        ArrowUp: () => other(-1),
        Home: () => series[0],
        End: () => series[series.length - 1],
        Escape: () => null,
      };
      if (!(event.key in moves)) return;
      event.preventDefault();
      show(moves[event.key]());
    });
  };

  // A figure as one SVG, in the colours of light pages, without what is hidden.
  const composed = (figure) => {
    const panels = all(".panels svg", figure);
    const columns = Math.min(3, panels.length);
    const widest = Math.max(...panels.map((p) => p.viewBox.baseVal.width));
    const [gap, margin] = [18, 20];
    const width = Math.max(560, 2 * margin + columns * widest + (columns - 1) * gap);
    const style = getComputedStyle(document.body).fontFamily;
    const root = make("svg:svg", { xmlns: "http://www.w3.org/2000/svg", "font-family": style, "stroke-linecap": "round", "stroke-linejoin": "round" });
    root.append(make("svg:rect", { width: "100%", height: "100%", fill: "#FEFEFE" }));
    const text = (x, y, size, words, weight = 400) => {
      root.append(make("svg:text", { x, y, "font-size": size, "font-weight": weight, fill: "#1D232A" }, words));
    };
    text(margin, 32, 16, figure.querySelector("h3").textContent, 600);
    let [x, y] = [margin, 40];
    for (const item of all(".keys li:not(.off)", figure)) {
      const room = 48 + item.textContent.trim().length * 6.6;
      if (x + room > width - margin && x > margin) [x, y] = [margin, y + 20];
      const key = item.querySelector(".key");
      if (key) {
        const colour = key.dataset.c;
        const round = key.matches(".points,.ring");
        const dash = key.matches(".dash") ? "5 5" : key.matches(".dot") ? "0.5 5" : key.matches(".long") ? "11 5" : "none";
        root.append(key.matches(".span")
          ? make("svg:path", { d: `M${x + 10} ${y + 5}h8m-4 0v14m-4 0h8`, fill: "none", stroke: colour, "stroke-width": 1.6 })
          : round
          ? make("svg:circle", { cx: x + 14, cy: y + 12, r: 4.5, fill: key.matches(".ring") ? "none" : colour, stroke: colour, "stroke-width": 2 })
          : make("svg:line", { x1: x + 2, x2: x + 26, y1: y + 12, y2: y + 12, stroke: colour, "stroke-width": 2.4, "stroke-dasharray": dash }));
      }
      text(x + (key ? 34 : 2), y + 16, 12, item.textContent.trim());
      x += room;
    }
    y += 36;
    for (let i = 0; i < panels.length; i += columns) {
      const row = panels.slice(i, i + columns);
      row.forEach((svg, j) => {
        const copy = svg.cloneNode(true);
        const box = svg.viewBox.baseVal;
        for (const gone of all(".cursor,[data-s].off", copy)) gone.remove();
        for (const name of ["tabindex", "aria-label", "role"]) copy.removeAttribute(name);
        for (const [key, value] of Object.entries({ x: margin + j * (widest + gap), y, width: box.width, height: box.height })) copy.setAttribute(key, value);
        root.append(copy);
      });
      y += Math.max(...row.map((p) => p.viewBox.baseVal.height)) + gap;
    }
    for (const [key, value] of Object.entries({ width, height: y, viewBox: `0 0 ${width} ${y}` })) root.setAttribute(key, value);
    return [new XMLSerializer().serializeToString(root), width, y];
  };
  const save = (blob, name) => {
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  for (const figure of all("figure.figure")) {
    const hidden = new Set();
    const marks = JSON.parse(figure.querySelector("script.marks").textContent);
    all(".panels svg", figure).forEach((svg, i) => panel(svg, marks[i], hidden));
    for (const item of all(".keys li[data-s]", figure)) {
      const name = item.dataset.s;
      const button = make("button", { type: "button", "aria-pressed": "true", title: "Hide or show" }, ...item.childNodes);
      item.append(button);
      button.addEventListener("click", () => {
        const off = !hidden.delete(name);
        if (off) hidden.add(name);
        item.classList.toggle("off", off);
        button.setAttribute("aria-pressed", String(!off));
        for (const group of all(".panels [data-s]", figure)) {
          if (group.dataset.s === name) group.classList.toggle("off", off);
        }
      });
    }
    const name = figure.id.replace("fig-", "");
    const svg = make("button", { type: "button" }, "SVG");
    svg.addEventListener("click", () => save(new Blob([composed(figure)[0]], { type: "image/svg+xml" }), `${name}.svg`));
    const png = make("button", { type: "button" }, "PNG");
    png.addEventListener("click", () => {
      const [text, width, height] = composed(figure);
      const image = new Image();
      image.onload = () => {
        const canvas = make("canvas", { width: width * 2, height: height * 2 });
        canvas.getContext("2d").drawImage(image, 0, 0, width * 2, height * 2);
        canvas.toBlob((blob) => save(blob, `${name}.png`));
      };
      image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    });
    figure.querySelector(".save").append(svg, png);
  }

  // Tables sort by a click on a column's head; what is no number comes last.
  const value = (cell) => {
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    const text = cell.textContent.trim().replaceAll("−", "-").replaceAll(",", "");
    const number = text.match(/[-+]?\d+\.?\d*/);
    return number ? Number(number[0]) : NaN;
  };
  for (const table of all("main table")) {
    const body = table.tBodies[0];
    all("thead th", table).forEach((head, column) => {
      const button = make("button", { type: "button", title: "Sort" }, ...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const numeric = head.classList.contains("num");
        const before = head.getAttribute("aria-sort");
        const down = before === "none" ? numeric : before === "ascending";
        for (const other of all("thead th", table)) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].map((row) => [row, row.cells[column]]);
        rows.sort(([, a], [, b]) => {
          if (!numeric) return (down ? -1 : 1) * a.textContent.localeCompare(b.textContent, undefined, { numeric: true });
          const [x, y] = [value(a), value(b)];
          if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
          return down ? y - x : x - y;
        });
        body.append(...rows.map(([row]) => row));
      });
    });
  }

  // On paper everything is open.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });
})();
