// The report's reliability diagram: drawn from the numbers in the page, for the benchmark, language, model and SFT set
// that are chosen. The choice stands in the address, so that it can be sent. Names reach the page as text alone, never
// as HTML. `calgrid.report.content` says what the numbers are; `calgrid.figures.panels` draws the same on paper.
"use strict";
{
  const SVG = "http://www.w3.org/2000/svg";
  const SIZE = 380; // of the diagram, in its own units
  const BARS = 90; // height of the histogram
  const LEFT = 52, TOP = 12, GAP = 20, BOTTOM = 42, RIGHT = 12;
  const LONE = 0.012; // half the width of a band between bins too few to have one
  const FAINT = 0.3; // opacity of bins with few questions
  const FIELDS = ["benchmark", "language", "model", "sft"];
  const TICKS = [0, 0.2, 0.4, 0.6, 0.8, 1];

  const data = JSON.parse(document.getElementById("data").textContent);
  const selects = Object.fromEntries(FIELDS.map((name) => [name, document.getElementById(`choose-${name}`)]));
  const panel = document.getElementById("diagram");
  let choice = {}; // what is drawn
  const files = new Set([...document.querySelectorAll("#files a")].map((link) => link.getAttribute("href")));

  const fixed = (value, digits = 3) => (value === null ? "–" : value.toFixed(digits));
  const whole = (value) => value.toLocaleString("en", { maximumFractionDigits: 1 });

  const short = (value) => value.toLocaleString("en", { notation: "compact" });

  function html(name, attributes = {}, ...children) {
    return build(document.createElement(name), attributes, children);
  }

  function svg(name, attributes = {}, ...children) {
    return build(document.createElementNS(SVG, name), attributes, children);
  }

  function build(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children); // strings become text
    return element;
  }

  // Choices

  function options(select, names) {
    select.replaceChildren(...names.map((name, i) => html("option", { value: i }, name)));
  }

  function benchmark() {
    return data.benchmarks[selects.benchmark.value];
  }

  function chosen() {
    return {
      benchmark: benchmark().name,
      language: benchmark().languages[selects.language.value].code,
      model: data.models[selects.model.value],
      sft: data.sft[selects.sft.value],
    };
  }

  // What the benchmark has no language for, and what the grid does not have, becomes the first that there is.
  function choose(wanted) {
    const pick = (select, names, name) => (select.value = Math.max(0, names.indexOf(name)));
    pick(selects.benchmark, data.benchmarks.map((b) => b.name), wanted.benchmark);
    pick(selects.model, data.models, wanted.model);
    pick(selects.sft, data.sft, wanted.sft);
    const { languages } = benchmark();
    options(selects.language, languages.map((l) => l.name));
    pick(selects.language, languages.map((l) => l.code), wanted.language);
    draw();
  }

  // The choice in the address, or nothing where it names a part of the page.
  function addressed() {
    const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    return FIELDS.some((name) => Object.hasOwn(asked, name)) ? asked : null;
  }

  // Drawing

  const x = (value) => LEFT + value * SIZE;
  const y = (value) => TOP + (1 - value) * SIZE;

  // Paths of about the same area around the origin, by the names of theme.STYLES.
  const SHAPES = {
    circle: (r) => `M${-r},0A${r},${r} 0 1 1 ${r},0A${r},${r} 0 1 1 ${-r},0Z`,
    square: (r) => `M${-r},${-r}H${r}V${r}H${-r}Z`,
    "triangle-up": (r) => `M0,${-1.2 * r}L${1.2 * r},${r}H${-1.2 * r}Z`,
    "triangle-down": (r) => `M0,${1.2 * r}L${1.2 * r},${-r}H${-1.2 * r}Z`,
    diamond: (r) => `M0,${-1.4 * r}L${1.1 * r},0L0,${1.4 * r}L${-1.1 * r},0Z`,
    cross: (r) =>
      `M${-1.3 * r},${-r / 2}H${-r / 2}V${-1.3 * r}H${r / 2}V${-r / 2}H${1.3 * r}V${r / 2}H${r / 2}V${1.3 * r}` +
      `H${-r / 2}V${r / 2}H${-1.3 * r}Z`,
  };

  function mark(style, atX, atY, radius, opacity = 1) {
    const place = `translate(${atX.toFixed(2)},${atY.toFixed(2)})`;
    return svg("path", { d: SHAPES[style.shape](radius), fill: style.color, transform: place, opacity });
  }

  function line(x1, y1, x2, y2, attributes) {
    return svg("line", { x1, y1, x2, y2, ...attributes });
  }

  function frame(top, height) {
    return svg("rect", { x: LEFT, y: top, width: SIZE, height, fill: "none", stroke: "#bbb" });
  }

  function axes(most) {
    const parts = [];
    const bottom = TOP + SIZE + GAP;
    for (const tick of TICKS) {
      const grid = { stroke: "#ececec" };
      parts.push(line(x(tick), TOP, x(tick), TOP + SIZE, grid), line(LEFT, y(tick), LEFT + SIZE, y(tick), grid));
      parts.push(line(x(tick), bottom, x(tick), bottom + BARS, grid));
      parts.push(svg("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
      parts.push(svg("text", { x: x(tick), y: bottom + BARS + 15, "text-anchor": "middle" }, String(tick)));
    }
    const shown = { "text-anchor": "end", x: LEFT - 6 };
    parts.push(svg("text", { ...shown, y: bottom + 9 }, short(most)), svg("text", { ...shown, y: bottom + BARS }, "0"));
    parts.push(frame(TOP, SIZE), frame(bottom, BARS));
    parts.push(line(x(0), y(0), x(1), y(1), { stroke: "#8a8a8a" }));
    const middle = LEFT + SIZE / 2;
    const sideways = (text, at) =>
      svg("text", { transform: `translate(13,${at}) rotate(-90)`, "text-anchor": "middle" }, text);
    parts.push(svg("text", { x: middle, y: bottom + BARS + 34, "text-anchor": "middle" }, "Confidence"));
    parts.push(sideways("Accuracy", TOP + SIZE / 2), sideways("Questions", bottom + BARS / 2));
    return parts;
  }

  // Runs of neighbouring bins that have an interval; a lone one is widened a little.
  function bands(bins) {
    const runs = [[]];
    for (const bin of bins) {
      if (bin.low === null) runs.push([]);
      else runs[runs.length - 1].push(bin);
    }
    return runs.filter((run) => run.length).map((run) => {
      const [only] = run;
      const at = run.length > 1 ? run : [-LONE, LONE].map((d) => ({ ...only, confidence: only.confidence + d }));
      const corner = (bin, side) => `${x(bin.confidence).toFixed(2)},${y(bin[side]).toFixed(2)}`;
      return [...at.map((b) => corner(b, "high")), ...at.reverse().map((b) => corner(b, "low"))].join(" ");
    });
  }

  function curve({ style, filled: bins }) {
    const faint = (bin) => bin.count < data.few;
    const parts = bands(bins).map((points) => svg("polygon", { points, fill: style.color, opacity: 0.14 }));
    bins.slice(1).forEach((bin, i) => {
      const from = bins[i];
      parts.push(line(x(from.confidence), y(from.accuracy), x(bin.confidence), y(bin.accuracy), {
        stroke: style.color, "stroke-width": 1.8, "stroke-dasharray": style.dash.join(" "),
        opacity: faint(bin) || faint(from) ? FAINT : 1,
      }));
    });
    for (const bin of bins) {
      const point = mark(style, x(bin.confidence), y(bin.accuracy), faint(bin) ? 3 : 4.2, faint(bin) ? FAINT : 1);
      const within = bin.low === null ? "" : ` (${fixed(bin.low)} to ${fixed(bin.high)})`;
      const text = `${style.name}: confidence ${fixed(bin.confidence)}, accuracy ${fixed(bin.accuracy)}${within}, ` +
        `${whole(bin.count)} questions`;
      point.append(svg("title", {}, text));
      parts.push(point);
    }
    return parts;
  }

  function bars({ style, filled: bins }, place, of, most) {
    const width = (0.84 / of) * (SIZE / data.bins);
    const bottom = TOP + SIZE + GAP + BARS;
    return bins.map((bin) => {
      const height = (bin.count / most) * (BARS - 4);
      const left = LEFT + (bin.index + 0.08) * (SIZE / data.bins) + place * width;
      return svg("rect", { x: left.toFixed(2), y: (bottom - height).toFixed(2), width: width.toFixed(2),
        height: height.toFixed(2), fill: style.color });
    });
  }

  function eces(series) {
    const parts = [svg("text", { x: LEFT + 8, y: TOP + 18 }, "ECE")];
    series.forEach(({ style, ece }, i) => {
      parts.push(mark(style, LEFT + 14, TOP + 32 + 17 * i, 4));
      parts.push(svg("text", { x: LEFT + 25, y: TOP + 36 + 17 * i }, fixed(ece)));
      parts.push(svg("text", { x: LEFT + 72, y: TOP + 36 + 17 * i }, style.name));
    });
    return parts;
  }

  function picture(series, title) {
    const most = Math.max(...series.flatMap((s) => s.filled.map((bin) => bin.count)));
    const height = TOP + SIZE + GAP + BARS + BOTTOM;
    const summary = `Reliability diagram, ${title}. ` +
      series.map((s) => `${s.style.name}: ECE ${fixed(s.ece)}, accuracy ${fixed(s.accuracy)}`).join("; ");
    return svg("svg", { viewBox: `0 0 ${LEFT + SIZE + RIGHT} ${height}`, role: "img", "aria-label": summary },
      ...axes(most), ...series.flatMap(curve), ...series.flatMap((s, i) => bars(s, i, series.length, most)),
      ...eces(series));
  }

  // The same in words

  function sample(style) {
    return svg("svg", { viewBox: "0 0 34 14", class: "sample", "aria-hidden": "true" },
      line(1, 7, 33, 7, { stroke: style.color, "stroke-width": 1.8, "stroke-dasharray": style.dash.join(" ") }),
      mark(style, 17, 7, 4.2));
  }

  function table(heads, rows, caption) {
    const head = html("tr", {}, ...heads.map((text, i) => html("th", { scope: "col", class: i ? "right" : "" }, text)));
    return html("div", { class: "wide" },
      html("table", { class: "numbers" }, html("caption", {}, caption), html("thead", {}, head),
        html("tbody", {}, ...rows.map(([first, ...rest]) =>
          html("tr", {}, html("th", { scope: "row" }, ...[first].flat()), ...rest.map((text) => html("td", {}, text)))))));
  }

  function summaryTable(series) {
    return table(["Series", "Questions", "Accuracy", "Confidence", "ECE"],
      series.map((s) => [[sample(s.style), s.style.name], whole(s.n), fixed(s.accuracy), fixed(s.confidence), fixed(s.ece)]),
      `Each series as a whole; ECE with ${data.bins} bins`);
  }

  function binTable(series) {
    const rows = series.flatMap((s) => s.filled.map((bin) => [
      s.style.name, `${fixed(bin.index / data.bins, 2)} to ${fixed((bin.index + 1) / data.bins, 2)}`, whole(bin.count),
      fixed(bin.confidence), fixed(bin.accuracy), bin.low === null ? "–" : `${fixed(bin.low)} to ${fixed(bin.high)}`]));
    return table(["Series", "Bin", "Questions", "Confidence", "Accuracy", "95 % interval"], rows, "Each bin");
  }

  // Base model first, then the smoothings of the chosen SFT set.
  function seriesOf() {
    const model = data.models.indexOf(choice.model), sft = data.sft.indexOf(choice.sft);
    const found = [];
    for (const arm of benchmark().arms) {
      if (arm.model !== model || (arm.sft !== null && arm.sft !== sft)) continue;
      const [n, accuracy, confidence, ece, bins] = arm.languages[selects.language.value];
      const filled = bins.map(([index, count, conf, acc, low, high]) =>
        ({ index, count, confidence: conf, accuracy: acc, low, high }));
      found.push({ style: data.styles[arm.style], n, accuracy, confidence, ece, filled });
    }
    return found;
  }

  function draw() {
    choice = chosen();
    const series = seriesOf();
    const language = benchmark().languages[selects.language.value].name;
    const title = `${choice.model}, tuned on ${choice.sft}: ${choice.benchmark}, ${language}`;
    const href = ["figs", choice.benchmark, choice.sft, `reliability_${choice.language}.svg`].map(encodeURIComponent).join("/");
    const print = files.has(href) ? [html("p", {}, html("a", { href }, "The figure of all models, as SVG"))] : [];
    const open = panel.querySelector("details")?.open ?? false;
    const more = html("details", open ? { open: "" } : {}, html("summary", {}, "Numbers of each bin"), binTable(series));
    document.getElementById("shown").textContent = title;
    panel.replaceChildren(
      html("figure", {}, picture(series, title)),
      html("div", { class: "beside" }, summaryTable(series), ...print, more));
  }

  function changed(event) {
    // The list of languages is still that of the benchmark before.
    if (event.target === selects.benchmark) choose({ ...choice, benchmark: benchmark().name });
    else draw();
    history.replaceState(null, "", `#${new URLSearchParams(choice)}`);
  }

  // Figures are unpacked one by one (all together would keep the browser busy for a second), first those that the reader
  // comes near. The page counts as loaded when all are there, so that whoever prints it then has them.
  const shown = new Map(); // by image, the promise that it is there
  const images = [...document.querySelectorAll("img[data-svg]")];

  function showFigure(image) {
    if (!shown.has(image)) shown.set(image, unpack(image));
    return shown.get(image);
  }

  async function unpack(image) {
    const bytes = Uint8Array.from(atob(image.dataset.svg), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const svg = await new Response(stream).arrayBuffer();
    await load(image, URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" })));
  }

  function load(image, url) {
    return new Promise((then) => Object.assign(image, { onload: then, onerror: then, src: url }));
  }

  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) showFigure(target);
  }, { rootMargin: "100%" }); // a window's height away

  async function showAll() {
    for (const image of images) await showFigure(image);
  }

  // A page is not loaded while an image is on its way: a tiny one after the other, until this is done.
  async function loadedAfter(done) {
    let waiting = true;
    done.finally(() => (waiting = false));
    const tiny = URL.createObjectURL(new Blob([`<svg xmlns="${SVG}"/>`], { type: "image/svg+xml" }));
    while (waiting) await load(new Image(), tiny);
  }

  const form = document.getElementById("choice");
  const asked = addressed();
  options(selects.benchmark, data.benchmarks.map((b) => b.name));
  options(selects.model, data.models);
  options(selects.sft, data.sft);
  choose(asked ?? {});
  form.hidden = false;
  form.addEventListener("change", changed);
  addEventListener("hashchange", () => addressed() && choose(addressed()));
  if (asked) document.getElementById("reliability").scrollIntoView();
  document.documentElement.dataset.ready = performance.now().toFixed(0); // milliseconds since the page was asked for
  for (const image of images) near.observe(image);
  loadedAfter(showAll());
  addEventListener("beforeprint", () => images.forEach(showFigure));
}
