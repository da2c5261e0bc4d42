/** Where the ring's parts are drawn: each rank an arc as long as its share of the layers, clockwise from the top in the order of the steps. Pure. */

export interface Segment {
  readonly rank: number;
  /** Degrees clockwise from the top. */
  readonly from: number;
  readonly to: number;
}

const gapDegrees = 5;

/** @param layers of each rank, in order of rank. */
export function segments(layers: readonly number[]): Segment[] {
  const total = layers.reduce((sum, count) => sum + count, 0);
  if (total === 0) return [];
  if (layers.length === 1) return [{ rank: 0, from: gapDegrees / 2, to: 360 - gapDegrees / 2 }];
  const room = 360 - gapDegrees * layers.length;
  let at = gapDegrees / 2;
  return layers.map((count, rank) => {
    const from = at;
    const to = from + (room * count) / total;
    at = to + gapDegrees;
    return { rank, from, to };
  });
}

export interface Point { readonly x: number; readonly y: number }

export function onCircle(degrees: number, radius: number): Point {
  const angle = ((degrees - 90) * Math.PI) / 180;
  return { x: round(radius * Math.cos(angle)), y: round(radius * Math.sin(angle)) };
}

/** An SVG path along the circle. */
export function arcPath({ from, to }: Pick<Segment, "from" | "to">, radius: number): string {
  const start = onCircle(from, radius);
  const end = onCircle(to, radius);
  return `M ${start.x} ${start.y} A ${radius} ${radius} 0 ${to - from > 180 ? 1 : 0} 1 ${end.x} ${end.y}`;
}

/** A small arrow head that points along the ring, in the gap behind a segment. */
export function chevronPath(degrees: number, radius: number): string {
  const tip = onCircle(degrees + 1.1, radius);
  const inner = onCircle(degrees - 0.9, radius - 7);
  const outer = onCircle(degrees - 0.9, radius + 7);
  return `M ${inner.x} ${inner.y} L ${tip.x} ${tip.y} L ${outer.x} ${outer.y}`;
}

const round = (value: number): number => Math.round(value * 100) / 100;
