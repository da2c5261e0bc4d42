import { describe, expect, it } from "vitest";
import { millis } from "../../../../src/core/ids.js";
import { RateLimiter } from "../../../../src/daemon/security/rate-limit.js";

describe("the limit on joins", () => {
  it("lets a burst through, then one for every interval, and says how long to wait", () => {
    const limiter = new RateLimiter({ burst: 3, perSecond: 0.5 }, { burst: 100, perSecond: 100 });
    const at = (seconds: number) => limiter.attempt("a", millis(seconds * 1_000));
    expect([at(0), at(0), at(0), at(0), at(1)]).toEqual([0, 0, 0, 2, 1]);
    expect([at(2), at(2)]).toEqual([0, 2]);
    expect([at(100), at(100), at(100), at(100)]).toEqual([0, 0, 0, 2]);
  });

  it("keeps one source from using up another's, and all together from using up the node's", () => {
    const limiter = new RateLimiter({ burst: 2, perSecond: 0.1 }, { burst: 4, perSecond: 1 });
    const attempt = (source: string) => limiter.attempt(source, millis(0)) === 0;
    expect([attempt("a"), attempt("a"), attempt("a")]).toEqual([true, true, false]);
    expect([attempt("b"), attempt("b")]).toEqual([true, true]);
    expect(attempt("c")).toBe(false);
  });

  it("is not fooled by a clock that goes backwards, nor by any number of sources", () => {
    const limiter = new RateLimiter({ burst: 1, perSecond: 1 }, { burst: 5, perSecond: 1 });
    expect(limiter.attempt("a", millis(10_000))).toBe(0);
    expect(limiter.attempt("a", millis(0))).toBeGreaterThan(0);
    let passed = 0;
    for (let source = 0; source < 5_000; source += 1) if (limiter.attempt(`s${source}`, millis(10_000)) === 0) passed += 1;
    expect(passed).toBeLessThanOrEqual(4);
  });
});
