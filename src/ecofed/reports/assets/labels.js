// Words in charts: where they hide the least.
/** Vertical marks, their words where they cover the least; `taken` learns where they stand. */
function paintFloors(plane, marks, dots, taken) {
  const floors = [...marks].sort((one, two) => one.bytes - two.bytes);
  floors.forEach((floor) => {
    const x = plane.x(floor.bytes);
    if (x < plane.left || x > plane.right) return;
    draw("path", { class: "floor", d: `M${x} ${plane.top}V${plane.bottom}` }, plane.clipped);
    taken.push({ x: x - 2, y: plane.top, w: 4, h: plane.bottom - plane.top });
  });
  floors.forEach((floor, at) => {
    const x = plane.x(floor.bytes);
    if (x < plane.left || x > plane.right) return;
    const text = draw("text", { class: "floor" }, plane.clipped, `${plane.width < 520 ? floor.label.replace(/^every image once \((.*)\)$/, "$1") : floor.label} · ${humanBytes(floor.bytes)}`);
    const h = text.getComputedTextLength() + 4;
    // Beside its mark, at the foot or at the top: where it covers the least of the lines.
    const sides = at === 0 && floors.length > 1 ? [-17, 3] : [3, -17];
    const places = sides.flatMap((dx) => [plane.bottom - 6 - h, plane.top].map((y) => ({ x: x + dx, y, w: 14, h })));
    const cost = (box) => dots.filter(([px, py]) => px > box.x && px < box.x + box.w && py > box.y && py < box.y + h).length
      + 100 * taken.filter((other) => overlap(box, other)).length + 100 * (box.x < plane.left);
    const best = places.map((box, order) => [cost(box) + order / 10, box]).sort((one, two) => one[0] - two[0])[0][1];
    text.setAttribute("transform", `translate(${best.x + 11} ${best.y + h - 2}) rotate(-90)`);
    taken.push(best);
  });
}

/** Names beside dots, where they cover no line, no mark and no other name. */
function paintNames(plane, items, dots, taken) {
  const apart = (box, [px, py]) => Math.hypot(Math.max(box.x - px, 0, px - box.x - box.w), Math.max(box.y - py, 0, py - box.y - box.h));
  for (const item of items) {
    const [x, y] = item.place;
    if (x < plane.left || x > plane.right || y < plane.top - 4 || y > plane.bottom) continue;
    const room = plane.width < 520 ? 30 : 44;
    // Settings that tell runs apart stand at the end: the middle is what can be left out.
    const name = item.name.length > room ? `${item.name.slice(0, 12)}…${item.name.slice(13 - room)}` : item.name;
    const text = draw("text", { class: "name", style: `fill:${item.colour}` }, plane.svg, item.value === undefined ? name : `${name} ${item.value.toFixed(item.value && item.value < 0.05 ? 3 : 2)}`);
    const [w, h] = [text.getComputedTextLength(), 15];
    let best = null;
    const places = [0, -8, 8, -16, 16, -24, 24, -34, 34, -46, 46, -58, 58].map((dy) => [10, dy]);
    places.push([-w / 2, -16], [-w / 2, 16], [-w - 10, -10], [-w - 10, 10], [-w - 10, -22], [-w - 10, 22], [-w - 10, 0], [-14, -18], [-14, 18], [14 - w, -18], [14 - w, 18]);
    places.forEach(([dx, dy], order) => {
      const box = { x: x + dx, y: y + dy - h / 2, w, h };
      const hits = taken.filter((other) => overlap(box, other)).length;
      const covered = dots.filter(([px, py]) => px > box.x - 2 && px < box.x + w + 2 && py > box.y && py < box.y + h).length;
      const outside = box.x < plane.left || box.x + w > plane.width || box.y < 0 || box.y + h > plane.bottom;
      const misread = items.some((other) => apart(box, other.place) < apart(box, item.place) - 1); // taken for another's
      const cost = 1000 * hits + 1500 * outside + 4 * covered + 40 * misread + order;
      if (!best || cost < best.cost) best = { box, cost };
    });
    text.setAttribute("x", best.box.x);
    text.setAttribute("y", best.box.y + 12);
    taken.push(best.box);
  }
}

/** The square that a mark fills. */
const around = ([x, y]) => ({ x: x - 8, y: y - 7, w: 16, h: 14 });

const overlap = (one, two) => one.x < two.x + two.w && two.x < one.x + one.w && one.y < two.y + two.h && two.y < one.y + one.h;

/** A line as points some 6 px apart, however many it has. */
function along(places) {
  const far = places.filter((place, at) => {
    const last = at ? places[at - 1].kept ?? places[at - 1] : null;
    place.kept = last && Math.hypot(place[0] - last[0], place[1] - last[1]) < 3 ? last : place;
    return place.kept === place;
  });
  return far.flatMap(([x, y], at) => {
    const [nx, ny] = far[at + 1] ?? [x, y];
    const steps = Math.max(1, Math.ceil(Math.hypot(nx - x, ny - y) / 6));
    return Array.from({ length: steps }, (_, step) => [x + ((nx - x) * step) / steps, y + ((ny - y) * step) / steps]);
  });
}

/** Whether a line hides much of another: a third of its own points lie on it. */
function lies(places, other) {
  const below = along(other);
  const own = along(places);
  return own.filter(([x, y]) => below.some(([px, py]) => Math.hypot(px - x, py - y) < 3.5)).length > own.length / 3;
}
