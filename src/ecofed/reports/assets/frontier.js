// Accuracy against the bytes of one device, a mark a method; the steps join those that no other one beats.
class Frontier {
  constructor(host, data) {
    this.data = data;
    this.points = [...data.points].sort((one, two) => one.bytes - two.bytes);
    this.named = this.points.length <= 10;
    this.plane = new Plane(make("div", { class: "canvas" }, host), this, "Final accuracy against bytes of a device; arrow keys move the cursor");
    this.plane.name = "frontier";
    if (!this.named) {
      const list = make("ol", { class: "numbered" }, host);
      for (const point of this.points) make("li", {}, list, `${point.label}: ${point.accuracy.toFixed(3)}, ${humanBytes(point.bytes)}`);
    }
    make("p", { class: "note" }, host, "Further left is cheaper, higher is better: final accuracy against what one device sent and received in all. The steps join the frontier, points that no other one beats with fewer bytes. Dotted: sending all images of a device once.");
    this.plane.paint();
  }

  axes() {
    const narrow = (this.plane?.host.clientWidth ?? 999) < 520;
    return { logX: true, logY: false, formatX: humanBytes, formatY: (value) => value.toFixed(1 + (Math.round(value * 100) % 10 !== 0)), titleX: narrow ? "bytes of one device (log scale)" : "bytes of one device over the whole training, up and down (log scale)" };
  }

  extent(plane) {
    const xs = [...this.points, ...this.data.floors].map((each) => Math.log10(each.bytes));
    const [low, high] = [Math.min(...xs), Math.max(...xs)];
    const span = Math.max(high - low, 0.5);
    const last = this.named && plane.width >= 620 ? 0.28 : 0.06;
    const top = Math.max(...this.points.map((point) => point.accuracy));
    return { x0: low - span * Math.max(0.04, 26 / (plane.right - plane.left)), x1: high + last * span, y0: 0, y1: Math.min(1, Math.max(0.05, top * 1.12)) };
  }

  paint(plane) {
    const places = this.points.map((point) => [plane.x(point.bytes), plane.y(point.accuracy)]);
    const best = this.points.map((point, at) => [point, places[at]]).filter(([point]) => point.efficient);
    const steps = best.map(([, [x, y]], at) => (at ? `H${x}V${y}` : `M${x} ${y}`)).join("");
    draw("path", { class: "steps", d: steps }, plane.clipped);
    const bends = best.flatMap(([, [x, y]], at) => (at ? [[x, best[at - 1][1][1]], [x, y]] : [[x, y]]));
    const dots = [...places, ...along(bends)];
    const taken = places.map(around);
    paintFloors(plane, this.data.floors, dots, taken);
    this.points.forEach((point, at) => {
      draw("path", { class: "point", d: markPath(point.marker, ...places[at], 6.5), style: `fill:${point.colour}`, opacity: point.efficient ? 1 : 0.6, "data-label": point.label }, plane.clipped);
    });
    if (!this.named) {
      paintNames(plane, this.points.map((point, at) => ({ name: String(at + 1), colour: point.colour, place: places[at] })), dots, taken);
    } else if (plane.width >= 620) {
      paintNames(plane, this.points.map((point, at) => ({ name: point.label, value: point.accuracy, colour: point.colour, place: places[at] })), dots, taken);
    }
  }

  read(plane, px, py) {
    const near = this.points
      .map((point) => ({ point, x: plane.x(point.bytes), y: plane.y(point.accuracy) }))
      .map((each) => ({ ...each, distance: Math.hypot(each.x - px, each.y - py) }))
      .sort((one, two) => one.distance - two.distance)[0];
    if (!near || near.distance > 60) return null;
    const { point } = near;
    const rows = [["final accuracy", point.accuracy.toFixed(3)], ["bytes of a device", humanBytes(point.bytes)], ["on the frontier", point.efficient ? "yes" : "no"]];
    return { title: point.label, rows: rows.map(([name, value]) => ({ colour: point.colour, name, value })), dots: [{ x: near.x, y: near.y, colour: point.colour }] };
  }
}
