// What server and devices do in the first round: a row each, all methods on one time axis.
class Timelines {
  constructor(host, data) {
    this.data = data;
    this.list = data.methods.flatMap((method) => [{ title: `${method.label}: ${humanSeconds(method.end)}` }, ...method.rows.map((row) => ({ ...row, method: method.label }))]);
    const bar = make("div", { class: "controls" }, host);
    for (const kind of new Set(this.list.flatMap((row) => (row.spans ?? []).map(([kind]) => kind)))) {
      const key = make("span", { class: "key" }, bar);
      make("i", { style: `background:${this.kind(kind).colour}` }, key);
      key.append(this.kind(kind).word);
    }
    this.reset = make("button", { type: "button", disabled: "" }, bar, "whole round");
    this.reset.addEventListener("click", () => this.plane.zoom(null));
    this.plane = new Plane(make("div", { class: "canvas" }, host), this, "The first round by the simulated clock; arrow keys move the cursor");
    this.plane.name = "timelines";
    make("p", { class: "note" }, host, "What the server and the first devices do in round 1. The upper bar of a row is computing, the lower one sending and receiving. Drag to zoom into a short one, a double click shows all again.");
    this.plane.paint();
  }

  kind(name) {
    return this.data.kinds[name] ?? { colour: "var(--muted)", word: name };
  }

  zoomed(on) {
    this.reset.disabled = !on;
  }

  axes() {
    return { logX: false, logY: false, flat: true, gutter: 84, height: this.list.length * 22 + 62, formatX: (value) => (value ? humanSeconds(value) : "0"), titleX: "simulated time of the first round" };
  }

  extent() {
    return { x0: 0, x1: Math.max(...this.data.methods.map((method) => method.end)) || 1, y0: 0, y1: 1 };
  }

  paint(plane) {
    this.list.forEach((row, at) => {
      const y = plane.top + at * 22;
      if (row.title) {
        draw("text", { class: "method", x: plane.left + 6, y: y + 17 }, plane.svg, row.title);
        return;
      }
      draw("text", { x: plane.left - 8, y: y + 15, "text-anchor": "end" }, plane.svg, row.name);
      for (const [kind, start, end] of row.spans) {
        const link = kind === "send" || kind === "receive";
        const x = plane.x(start);
        draw("rect", { x, y: y + (link ? 12 : 3), width: Math.max(0.6, plane.x(end) - x), height: link ? 7 : 9, style: `fill:${this.kind(kind).colour}` }, plane.clipped);
      }
    });
  }

  read(plane, px, py) {
    const at = plane.valueAt(px);
    const row = this.list[Math.floor((py - plane.top) / 22)];
    if (!row?.spans || at < 0) return null;
    const near = (plane.valueAt(px + 3) - at) || 0;
    const found = row.spans.filter(([, start, end]) => start - near <= at && at <= end + near);
    return {
      x: px,
      title: `${row.method}, ${row.name}, at ${humanSeconds(at)}`,
      rows: found.map(([kind, start, end]) => ({ colour: this.kind(kind).colour, name: this.kind(kind).word, value: `${humanSeconds(start)} to ${humanSeconds(end)}` })),
      dots: [],
    };
  }
}
