// Charts without a library: a plane with axes that zoom, and lines on it. Positions are pixels, 12 px text stays 12 px.
const SVG = "http://www.w3.org/2000/svg";
const draw = (tag, attributes, parent, text = null) => make(tag, attributes, parent, text, SVG);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function threeDigits(value) {
  if (value >= 999.5) return Number(value.toPrecision(3)).toLocaleString("en");
  return value.toFixed(value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2);
}
function humanBytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit ? threeDigits(value) : Math.round(value)} ${units[unit]}`;
}
function humanSeconds(value) {
  if (value < 10) return `${Number(value.toPrecision(2))} s`;
  const whole = Math.round(value);
  if (whole < 60) return `${whole} s`;
  for (const [size, name, smallSize, smallName] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    const small = Math.floor((whole % size) / smallSize);
    if (whole >= size) return `${Math.floor(whole / size)} ${name}${small ? ` ${small} ${smallName}` : ""}`;
  }
  return "";
}
const AXES = {
  bytes: { name: "bytes", title: "bytes over the wire so far, up and down, all devices", short: "bytes so far", format: humanBytes, log: true },
  round: { name: "rounds", title: "round", short: "round", format: (value) => `round ${Math.round(value)}`, log: false },
  seconds: { name: "simulated time", title: "simulated time so far", short: "simulated time", format: humanSeconds, log: true },
};
const TIMES = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, ...[1, 3, 10, 30].map((m) => 60 * m), ...[1, 3, 12].map((h) => 3600 * h), ...[1, 3, 10, 30, 100, 300, 1000].map((d) => 86400 * d)];

/** Round values between two ends: of a logarithmic axis 1, 2, 5 of each decade where there is room. */
function ticksOf(low, high, log, most, time) {
  if (log) {
    const span = high - low;
    const between = (list) => list.filter((value) => Math.log10(value) >= low - 1e-9 && Math.log10(value) <= high + 1e-9);
    if (time) {
      const found = between(TIMES);
      if (found.length >= 3) return found.filter((_, at) => at % Math.ceil(found.length / most) === 0);
    }
    for (const steps of [[1, 2, 5], [1, 3], [1]]) {
      const list = [];
      for (let power = Math.floor(low); power <= Math.ceil(high); power++) list.push(...steps.map((step) => step * 10 ** power));
      const found = between(list);
      if (found.length <= most && (found.length >= 3 || span > 1)) return found;
    }
    const whole = [];
    for (let power = Math.ceil(low); power <= high; power++) whole.push(10 ** power);
    if (whole.length > 2) return whole.filter((_, at) => at % Math.ceil(whole.length / most) === 0);
    return ticksOf(10 ** low, 10 ** high, false, most, false).filter((value) => value > 0);
  }
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-6; at++) found.push(Number((at * step).toPrecision(12)));
  return found;
}

function markPath(marker, x, y, r) {
  const poly = (corners) => `M${corners.map(([dx, dy]) => `${(x + dx * r).toFixed(1)} ${(y + dy * r).toFixed(1)}`).join("L")}Z`;
  const shapes = {
    s: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
    "^": [[0, -1.1], [1.05, 0.85], [-1.05, 0.85]],
    v: [[0, 1.1], [1.05, -0.85], [-1.05, -0.85]],
    D: [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]],
    P: [[-0.4, -1.1], [0.4, -1.1], [0.4, -0.4], [1.1, -0.4], [1.1, 0.4], [0.4, 0.4], [0.4, 1.1], [-0.4, 1.1], [-0.4, 0.4], [-1.1, 0.4], [-1.1, -0.4], [-0.4, -0.4]],
  };
  if (shapes[marker]) return poly(shapes[marker]);
  return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
}

/** Axes, zoom and cursor. `owner` says what is on it: extent(), paint(plane), read(plane, px, py) -> {x, title, rows, dots}. */
class Plane {
  constructor(host, owner, label) {
    Object.assign(this, { host, owner, view: null, cursor: null });
    this.svg = draw("svg", { class: "plane", tabindex: "0", role: "img", "aria-label": label }, host);
    this.tip = make("div", { class: "tip", role: "status", "aria-live": "polite", hidden: "" }, host);
    this.listen();
    new ResizeObserver(() => this.paint()).observe(host);
  }

  scale(value, log) {
    return log ? Math.log10(value) : value;
  }
  x(value) {
    const { x0, x1 } = this.range;
    return this.left + ((this.scale(value, this.logX) - x0) / (x1 - x0)) * (this.right - this.left);
  }
  y(value) {
    const { y0, y1 } = this.range;
    return this.bottom - ((this.scale(value, this.logY) - y0) / (y1 - y0)) * (this.bottom - this.top);
  }
  valueAt(px) {
    const { x0, x1 } = this.range;
    const at = x0 + ((px - this.left) / (this.right - this.left)) * (x1 - x0);
    return this.logX ? 10 ** at : at;
  }

  paint() {
    const width = this.host.clientWidth;
    if (!width) return; // folded away, or not laid out yet
    Object.assign(this, this.owner.axes());
    const height = this.height ?? clamp(Math.round(width * 0.52), 300, 440);
    Object.assign(this, { width, left: this.gutter ?? 46, right: width - 14, top: 12, bottom: height - 44 });
    this.range = this.view ?? this.owner.extent(this);
    this.svg.replaceChildren();
    for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) this.svg.setAttribute(name, value);
    const { x0, x1, y0, y1 } = this.range;
    const ticks = draw("g", { class: "ticks" }, this.svg);
    const most = clamp(Math.floor((this.right - this.left) / 85), 3, 9);
    for (const value of ticksOf(x0, x1, this.logX, most, this.time)) {
      const at = this.x(value);
      draw("path", { d: `M${at} ${this.bottom}v5` }, ticks);
      const text = this.formatX(value).replace(/\.0+(?= )/, "");
      draw("text", { x: clamp(at, this.left, this.right - 3.4 * text.length), y: this.bottom + 18, "text-anchor": "middle" }, ticks, text);
    }
    for (const value of this.formatY ? ticksOf(y0, y1, this.logY, 6, false) : []) {
      const at = this.y(value);
      draw("path", { class: "grid", d: `M${this.left} ${at}H${this.right}` }, ticks);
      draw("text", { x: this.left - 8, y: at + 4, "text-anchor": "end" }, ticks, this.formatY(value));
    }
    draw("path", { d: `M${this.left} ${this.top}V${this.bottom}H${this.right}` }, ticks);
    draw("text", { x: (this.left + this.right) / 2, y: height - 6, "text-anchor": "middle" }, ticks, this.titleX);
    const clip = draw("clipPath", { id: `${this.name}-clip` }, this.svg);
    draw("rect", { x: this.left, y: this.top - 8, width: this.right - this.left + 8, height: this.bottom - this.top + 10 }, clip);
    this.clipped = draw("g", { "clip-path": `url(#${this.name}-clip)` }, this.svg);
    this.owner.paint(this);
    this.over = draw("g", { class: "cursor" }, this.svg);
    if (this.cursor) this.point(...this.cursor);
  }

  point(px, py) {
    this.cursor = [px, py];
    this.over.replaceChildren();
    const found = px < this.left - 4 || px > this.right + 4 ? null : this.owner.read(this, px, py);
    this.tip.hidden = !found;
    if (!found) return;
    if (found.x !== undefined) draw("path", { d: `M${found.x} ${this.top}V${this.bottom}` }, this.over);
    for (const dot of found.dots) draw("circle", { cx: dot.x, cy: dot.y, r: 5, style: `stroke:${dot.colour}` }, this.over);
    this.tip.replaceChildren(make("b", {}, null, found.title));
    for (const row of found.rows) {
      const line = make("div", { class: row.strong ? "row strong" : "row" }, this.tip);
      make("i", { style: `background:${row.colour}` }, line);
      make("span", {}, line, row.name);
      make("span", {}, line, row.value);
    }
    const box = this.tip.getBoundingClientRect();
    this.tip.style.left = `${px + box.width + 24 > this.width ? Math.max(0, px - box.width - 14) : px + 14}px`;
    this.tip.style.top = `${clamp(py - box.height / 2, 0, Math.max(0, this.bottom - box.height))}px`;
  }

  unpoint() {
    this.cursor = null;
    this.tip.hidden = true;
    this.over?.replaceChildren();
  }

  zoom(view) {
    this.view = view;
    this.unpoint();
    this.paint();
    this.owner.zoomed?.(view !== null);
  }

  zoomAround(px, factor) {
    const { x0, x1 } = this.range;
    const at = x0 + clamp((px - this.left) / (this.right - this.left), 0, 1) * (x1 - x0);
    if ((x1 - x0) * factor < 1e-6) return;
    this.zoom({ ...this.range, x0: at - (at - x0) * factor, x1: at + (x1 - at) * factor });
  }

  listen() {
    let from = null;
    let frame = null;
    const place = (event) => {
      const box = this.svg.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    this.svg.addEventListener("pointerdown", (event) => {
      if (event.button === 0) from = place(event);
      if (event.pointerType === "touch") this.point(...place(event)); // a finger does not hover
    });
    this.svg.addEventListener("pointermove", (event) => {
      const [px, py] = place(event);
      if (from && event.buttons && Math.hypot(px - from[0], py - from[1]) > 5) {
        if (!frame) {
          this.unpoint();
          frame = draw("rect", { class: "frame" }, this.svg);
          this.svg.setPointerCapture(event.pointerId);
        }
        const tall = !this.flat && Math.abs(py - from[1]) > 24;
        const [xs, ys] = [[from[0], px].map((at) => clamp(at, this.left, this.right)), tall ? [from[1], py].map((at) => clamp(at, this.top, this.bottom)) : [this.top, this.bottom]];
        const [x, y] = [Math.min(...xs), Math.min(...ys)];
        Object.entries({ x, y, width: Math.max(...xs) - x, height: Math.max(...ys) - y }).forEach(([name, value]) => frame.setAttribute(name, value));
      } else if (!frame) {
        this.point(px, py);
      }
    });
    this.svg.addEventListener("pointercancel", () => {
      frame?.remove(); // the finger scrolls the page
      from = frame = null;
    });
    this.svg.addEventListener("pointerup", () => {
      if (frame) {
        const [x, y, width, height] = ["x", "y", "width", "height"].map((name) => Number(frame.getAttribute(name)));
        const { x0, x1, y0, y1 } = this.range;
        const across = (px) => x0 + ((px - this.left) / (this.right - this.left)) * (x1 - x0);
        const up = (py) => y0 + ((this.bottom - py) / (this.bottom - this.top)) * (y1 - y0);
        frame.remove();
        if (width > 4) this.zoom({ x0: across(x), x1: across(x + width), y0: up(y + height), y1: up(y) });
      }
      from = frame = null;
    });
    this.svg.addEventListener("pointerleave", (event) => frame || event.pointerType === "touch" || this.unpoint());
    this.svg.addEventListener("dblclick", () => this.zoom(null));
    this.svg.addEventListener("wheel", (event) => {
      // A page that is scrolled past a chart is not to be caught by it.
      if (!event.ctrlKey && document.activeElement !== this.svg) return;
      event.preventDefault();
      this.zoomAround(place(event)[0], event.deltaY > 0 ? 1.25 : 0.8);
    }, { passive: false });
    this.svg.addEventListener("keydown", (event) => {
      const [px, py] = this.cursor ?? [this.left, this.top + 40];
      const step = event.shiftKey ? 60 : 12;
      if (event.key === "ArrowLeft") this.point(Math.max(this.left, px - step), py);
      else if (event.key === "ArrowRight") this.point(Math.min(this.right, px + step), py);
      else if (event.key === "+") this.zoomAround(px, 0.8);
      else if (event.key === "-") this.zoomAround(px, 1.25);
      else if (event.key === "Escape") this.zoom(null);
      else return;
      event.preventDefault();
    });
  }
}
