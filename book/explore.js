// The page Explore: what is behind one pair of one example, from the data in the section itself.
(() => {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";
  const number = (value) => value.toLocaleString("en-US");
  const signed = (value, digits) => value.toFixed(digits).replace("-", "−");
  const nats = (value) => signed(value, Math.abs(value) < 0.1 ? 3 : 2);
  // A position per mille as a percentage: whole, but for one decimal near either end.
  const place = (at) => (at > 990 || at < 10 ? (Math.min(999, Math.max(1, at)) / 10).toFixed(1) : (at / 10).toFixed(0));

  // An element with attributes and children; a child that is text stays text, whatever it holds.
  function make(tag, attributes = {}, ...children) {
    const drawn = ["svg", "path", "circle", "line", "text", "g", "polyline"].includes(tag);
    const node = drawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  // A text with its marks [start, end, side], counted in characters (code points).
  function marked(text, marks) {
    const characters = Array.from(text), parts = [];
    const slice = (start, end) => characters.slice(start, end).join("");
    let done = 0;
    for (const [start, end, side] of marks) {
      parts.push(slice(done, start), make("mark", { class: `side-${side}` }, slice(start, end)));
      done = end;
    }
    return [...parts, slice(done)];
  }

  const ngram = (text, side) => make("mark", { class: `side-${side}` }, text);
  const short = (text, most = 72) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const size = (parameters) => {
    for (const [unit, letter] of [[1e9, "B"], [1e6, "M"], [1e3, "K"]]) {
      if (parameters >= unit) return `${Number((parameters / unit).toPrecision(2))}${letter}`;
    }
    return String(parameters);
  };
  const probability = (logp) => {
    const percent = 100 * Math.exp(logp);
    if (percent < 0.1 || percent > 99.9) return percent < 50 ? ["below ", "0.1%"] : ["above ", "99.9%"];
    return ["of ", `${percent.toFixed(percent < 10 || percent > 99 ? 1 : 0)}%`];
  };

  // --- two plots -------------------------------------------------------------------------------

  // Round values from low to high, written with the decimals that tell them apart.
  function ticks(low, high) {
    const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), values = [];
    for (let i = Math.ceil(low / step); i <= high / step; i += 1) values.push([i * step, signed(i * step, digits)]);
    return values;
  }

  const label = (text, x, y, attributes = {}) => make("text", { x, y, ...attributes }, text);

  // A frame with its axes' names, and the functions that place a point in it.
  function frame(title, [xLow, xHigh, xName], [yLow, yHigh, yName], height) {
    const box = { left: 48, right: 326, top: 14, bottom: height - 44 };
    const x = (v) => box.left + ((v - xLow) / (xHigh - xLow)) * (box.right - box.left);
    const y = (v) => box.bottom - ((v - yLow) / (yHigh - yLow)) * (box.bottom - box.top);
    const middle = (box.top + box.bottom) / 2;
    const svg = make("svg", { viewBox: `0 0 340 ${height}`, role: "img", "aria-label": title },
      make("path", { class: "axis", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` }),
      label(xName, (box.left + box.right) / 2, height - 6, { class: "name", "text-anchor": "middle" }),
      label(yName, 0, 0, {
        class: "name", "text-anchor": "middle", transform: `translate(11 ${middle}) rotate(-90)` }));
    return { svg, x, y, box };
  }

  function sizesPlot(data, pair, chosen) {
    const values = pair.point.logp.slice(1), sizes = data.models.map((m) => Math.log10(m.parameters));
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const room = (most - least || 1) * 0.15;
    const [first, last] = [Math.min(...sizes), Math.max(...sizes)];
    const listed = data.models.map((m, i) => `${m.name} ${nats(values[i])}`).join(", ");
    const { svg, x, y, box } = frame(
      `log P of the output by model, in nats: ${listed}`,
      [first - 0.2, last + 0.2, "parameters"], [least - room, most + room, "log P (nats)"], 300);
    for (const [value, written] of ticks(least - room, most + room)) {
      svg.append(make("line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }),
        label(written, box.left - 6, y(value) + 4, { "text-anchor": "end" }));
    }
    const order = sizes.map((_, i) => i).sort((a, b) => sizes[a] - sizes[b]);
    const line = order.filter((i) => data.models[i].by_size).map((i) => `${x(sizes[i])},${y(values[i])}`);
    svg.append(make("polyline", { class: "models", points: line.join(" ") }));
    let taken = -Infinity;
    for (const i of order) {
      const [across, up] = [x(sizes[i]), y(values[i])];
      if (across - taken > 36) {
        svg.append(label(size(data.models[i].parameters), across, box.bottom + 16, { "text-anchor": "middle" }));
        taken = across;
      }
      svg.append(make("circle", {
        class: i === chosen ? "this" : "model", cx: across, cy: up, r: i === chosen ? 6 : 4 }));
    }
    return svg;
  }

  function cloudPlot(data, pair, chosen) {
    const point = pair.point, cloud = data.clouds[point.cloud], name = data.models[chosen].name;
    const [across, up] = [point.at[0], point.at[1 + chosen]];
    const { svg, x, y, box } = frame(
      `${cloud.at[0].length} points of the group. Counts place this one at ${place(across)} of 100, ` +
      `${name} at ${place(up)} of 100`,
      [0, 1000, "position by counts"], [0, 1000, `position by ${short(name, 24)}`], 300);
    const dots = cloud.at[0].map((value, i) => `M${x(value).toFixed(1)} ${y(cloud.at[1 + chosen][i]).toFixed(1)}h0`);
    svg.append(
      make("line", { class: "grid", x1: x(500), x2: x(500), y1: box.top, y2: box.bottom }),
      make("line", { class: "grid", x1: box.left, x2: box.right, y1: y(500), y2: y(500) }),
      make("path", { class: "dots", d: dots.join("") }),
      make("path", { class: "lead", d: `M${x(across)} ${box.bottom}V${y(up)}H${box.left}` }),
      make("circle", { class: "this", cx: x(across), cy: y(up), r: 6 }));
    for (const value of [0, 50, 100]) {
      svg.append(label(value, x(10 * value), box.bottom + 16, { "text-anchor": "middle" }),
        label(value, box.left - 6, y(10 * value) + 4, { "text-anchor": "end" }));
    }
    return svg;
  }

  // --- a pair in words and bars ------------------------------------------------------------------

  function counts(pair) {
    const [both, x, y] = pair.counts, most = Math.max(1, both, x, y), about = pair.exact ? "" : "about ";
    const rows = [
      [[ngram(pair.x, 1), " and ", ngram(pair.y, 2)], both, "both"],
      [[ngram(pair.x, 1)], x, "x"], [[ngram(pair.y, 2)], y, "y"],
    ].map(([names, count, kind]) => make("li", {},
      make("span", { class: "what" }, ...names), make("span", { class: "count" }, about + number(count)),
      make("span", { class: `bar ${kind}`, style: `--share: ${count / most}; --least: ${count ? 2 : 0}px` })));
    const percent = 100 * both / x;
    const ratio = x
      ? [ngram(pair.y, 2), ` is in ${about}${percent.toFixed(both && percent < 10 ? 1 : 0)}% of the documents with `,
        ngram(pair.x, 1), "."]
      : ["No document contains ", ngram(pair.x, 1), ": the pair gives no count-based log P."];
    return [make("ul", { class: "counts" }, ...rows), make("p", { class: "note" }, ...ratio)];
  }

  function documents(data, pair) {
    if (!pair.documents.length) {
      return [make("p", { class: "note" }, pair.counts[0] ? "None is shown." : "No document contains both.")];
    }
    const items = pair.documents.map(([i, marks]) => make("li", {}, ...marked(data.documents[i], marks)));
    return [make("ul", { class: "documents" }, ...items)];
  }

  function position(data, pair, chosen) {
    const point = pair.point, cloud = data.clouds[point.cloud], name = data.models[chosen].name;
    const [a, b] = [point.at[0], point.at[1 + chosen]];
    const sign = Math.sign((a - 500) * (b - 500)), half = a > 500 ? "upper" : "lower";
    const where = ["They are in opposite halves", "One is in the middle", `Both are in the ${half} half`][1 + sign];
    const counts = ["counts against a positive Mem", "counts neither way", "counts towards a positive Mem"][1 + sign];
    const mem = cloud.barred ? `. This group has no Mem (${cloud.barred.replace("no Mem: ", "")}).`
      : `: the point ${counts}. Mem of ${name} in this group: ${cloud.mem[chosen]}.`;
    return `Of the ${number(cloud.points)} points (${cloud.group}, n = ${cloud.n}), counts rank this output above ` +
      `${place(a)}%, ${name} above ${place(b)}%. ${where}${mem}`;
  }

  function result(data, pair, chosen) {
    const [both] = pair.counts, name = data.models[chosen].name;
    const count = both ? (pair.exact ? "" : "About ") + number(both) : "No";
    const parts = [make("strong", {}, count), both > 1 ? " documents contain both " : " document contains both ",
      ngram(pair.x, 1), " and ", ngram(pair.y, 2), ". "];
    if (!pair.point) return [...parts, "The output is no point: no document contains its inputs, or a model lacks it."];
    const logp = pair.point.logp[1 + chosen], [word, percent] = probability(logp);
    return [...parts, `${name} gives `, ngram(pair.y, 2), ` log P = ${nats(logp)} nats, a probability ${word}`,
      make("strong", {}, percent), "."];
  }

  function basis(pair) {
    const { terms, zero, logp } = pair.point;
    const mean = terms > 1 ? `, a mean over ${terms} input n-grams` : ", from one input n-gram";
    const which = terms === 1 ? "it never occurs" : zero === terms ? "none of them occurs"
      : `${zero} of them never occur${zero === 1 ? "s" : ""}`;
    const never = zero ? `; ${which} together with the output` : "";
    return `By counts, log P of the output is ${nats(logp[0])}${mean}${never}.`;
  }

  // --- choices ---------------------------------------------------------------------------------

  function fill(select, options) {
    const groups = new Map();
    options.forEach(([text, group], i) => {
      if (!groups.has(group)) groups.set(group, group ? make("optgroup", { label: group }) : new DocumentFragment());
      groups.get(group).append(make("option", { value: i }, text));
    });
    select.replaceChildren(...groups.values());
  }

  function start(root) {
    const page = document.querySelectorAll(".explore[data-ready]").length;
    root.dataset.ready = "";
    const data = JSON.parse(root.querySelector("script").textContent);
    const select = {}, fields = ["Task", "Example", "Pair", "Model"].map((name) => {
      const id = `explore-${page}-${name.toLowerCase()}`;
      select[name] = make("select", { id });
      return make("div", { class: `field ${name.toLowerCase()}` },
        make("label", { class: "caption", for: id }, name), select[name]);
    });
    const next = make("button", { type: "button", "aria-label": "Next example" }, "Next");
    fields.splice(2, 0, next);
    const live = make("p", { class: "result", role: "status", "aria-live": "polite" });
    const part = (title, kind) => {
      const body = make("div");
      return { body, node: make("section", { class: `part ${kind}` }, make("h3", {}, title), body) };
    };
    const parts = {
      example: part("The example", "wide"),
      counts: part("Counts of documents", ""), documents: part("First documents with both", ""),
      sizes: part("log P by model size", ""), cloud: part("Among all points of the group", ""),
    };
    const at = (name) => Number(select[name].value);
    const task = () => data.tasks[at("Task")], example = () => task().examples[at("Example")];

    function show() {
      const one = example(), pair = one.pairs[at("Pair")], chosen = at("Model");
      live.replaceChildren(...result(data, pair, chosen));
      parts.example.body.replaceChildren(make("dl", {},
        make("dt", {}, "Input"), make("dd", {}, ...marked(one.x, pair.marks[0])),
        make("dt", {}, "Output"), make("dd", {}, ...marked(one.y, pair.marks[1]))));
      parts.counts.body.replaceChildren(...counts(pair));
      parts.documents.body.replaceChildren(...documents(data, pair));
      parts.sizes.node.hidden = parts.cloud.node.hidden = !pair.point;
      if (!pair.point) return;
      parts.sizes.body.replaceChildren(sizesPlot(data, pair, chosen), make("p", { class: "note" }, basis(pair)));
      parts.cloud.body.replaceChildren(cloudPlot(data, pair, chosen),
        make("p", { class: "note" }, position(data, pair, chosen)));
    }

    const fillPairs = () => fill(select.Pair, example().pairs.map((p) => [`${p.x} → ${p.y}`, `n = ${p.n}`]));
    const fillExamples = () => fill(select.Example, task().examples.map((one) => [short(one.x), one.group]));
    select.Task.addEventListener("change", () => { fillExamples(); fillPairs(); show(); });
    select.Example.addEventListener("change", () => { fillPairs(); show(); });
    for (const name of ["Pair", "Model"]) select[name].addEventListener("change", show);
    next.addEventListener("click", () => {
      select.Example.value = (at("Example") + 1) % task().examples.length;
      fillPairs();
      show();
    });
    function go([i, j, k]) {
      select.Task.value = i;
      fillExamples();
      select.Example.value = j;
      fillPairs();
      select.Pair.value = k;
      select.Model.value = data.main;
      show();
    }
    const begin = data.starts.map(({ title, place: where }) => {
      const button = make("button", { type: "button" }, title);
      button.addEventListener("click", () => go(where));
      return button;
    });
    fill(select.Task, data.tasks.map((one) => [one.title, ""]));
    fill(select.Model, data.models.map((m) => [`${m.name} (${number(m.parameters)} parameters)`, ""]));
    if (begin.length) {
      root.append(make("div", { class: "starts", role: "group", "aria-label": "Pairs to begin with" },
        make("span", { class: "caption" }, "Begin with"), ...begin));
    }
    root.append(
      make("div", { class: "fields" }, ...fields), live,
      make("div", { class: "parts" }, ...Object.values(parts).map((one) => one.node)));
    go(data.starts.length ? data.starts[0].place : [0, 0, 0]);
  }

  document.querySelectorAll(".explore:not([data-ready])").forEach((root) => start(root));
})();
