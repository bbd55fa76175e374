"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // ---- charts ------------------------------------------------------------------------------
  const DAY = "\n{YYYY}-{MM}-{DD}";
  const times = [
    [86400, "{YYYY}-{MM}-{DD}", null, null, null, null, null, null, 1],
    [3600, "{HH}:{mm}", DAY, null, DAY, null, null, null, 1],
    [60, "{HH}:{mm}", DAY, null, DAY, null, null, null, 1],
    [0.001, "{HH}:{mm}:{ss}", DAY, null, DAY, null, null, null, 1],
  ];
  // pixels between labels: those without seconds are short, which a phone needs
  const roomy = (_plot, _axis, from, to, width) => (to - from) / width * 44 > 30 ? 44 : 64;
  const axes = () => [
    { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, space: roomy, values: times, incrs: STEPS },
    { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, size: 46 },
  ];
  // a chart shows ten seconds at least, and a second is the finest step of its axis
  const SHORTEST = 10;
  const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];
  const t = data.series.t, step = t.length > 1 ? t[1] - t[0] : 1;
  // the last second has a width too: a point that closes it
  const closed = (column, end) => column.length ? [...column, end] : column;
  const marks = {
    hooks: {
      draw: (plot) => {
        const { ctx, bbox } = plot;
        ctx.save();
        ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
        for (const { t: at, word, kind } of data.marks) {
          const x = Math.round(plot.valToPos(Math.floor(at), "x", true));
          if (x < bbox.left || x > bbox.left + bbox.width) continue;
          ctx.strokeStyle = ctx.fillStyle = color(`--${kind}`);
          ctx.lineWidth = devicePixelRatio;
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
          ctx.textAlign = x > bbox.left + bbox.width * 0.8 ? "right" : "left";
          ctx.fillText(` ${word} `, x, bbox.top + bbox.height / 2);
        }
        ctx.restore();
      },
    },
  };
  let charts = [];
  function chart(id, height, columns, series) {
    const place = document.getElementById(id);
    if (!place) return; // said in a sentence instead
    if (!t.length) {
      place.textContent = "nothing was sent";
      return;
    }
    const options = {
      width: place.clientWidth, height, axes: axes(), legend: { live: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      cursor: { y: false, points: { size: 5 } },
      plugins: [marks],
      hooks: { ready: [({ scales: { x }, data: [points] }) => { place.dataset.shown = JSON.stringify([x.min, x.max, points.length]); }] },
      scales: {
        x: { range: (_, low, high) => [low, Math.max(high, low + SHORTEST)] },
        y: { range: (_, low, high) => [0, Math.max(high || 0, 1) * 1.1] },
      },
      series: [{}, ...series],
    };
    const made = new uPlot(options, [closed(t, t[t.length - 1] + step), ...columns], place);
    charts.push([made, place, height]);
  }
  const line = (label, name, more) => ({ label, stroke: color(name), width: 1.5, points: { show: false }, ...more });
  function drawCharts() {
    for (const [made] of charts) made.destroy();
    charts = [];
    const { starts, cap, p50, p95, throttled } = data.series;
    const dots = { points: { show: t.length < 3, size: 6 } };
    const stepped = { fill: color("--fill"), paths: uPlot.paths.stepped({ align: 1 }) };
    chart("starts", 180, [closed(starts, 0), closed(cap, cap[cap.length - 1])],
      [line("starts in the second", "--mark", stepped),
        line("cap", "--bad", { dash: [6, 4], paths: uPlot.paths.stepped({ align: 1 }) })]);
    chart("latency", 140, [closed(p50, null), closed(p95, null)],
      [line("median", "--mark", dots), line("95 %", "--wait", dots)]);
    chart("throttled", 140, [closed(throttled, 0)],
      [line("throttled calls", "--bad", stepped)]);
  }
  drawCharts();
  // a canvas keeps the colours that it was drawn with
  for (const media of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(media).addEventListener("change", drawCharts);
  }
  addEventListener("resize", () => {
    for (const [made, place, height] of charts) made.setSize({ width: place.clientWidth, height });
  });

  // ---- rows --------------------------------------------------------------------------------
  const PAGE = 100;
  const used = (column) => (column.values ?? column.words).some((value) => value !== "");
  const labels = { disk: "Disk", region: "Region", profile: "Profile", state: "State", source: "Copy of", snapshot: "Snapshot",
    attempts: "Tries", code: "Code", remedy: "What to do", request: "RequestId", name: "Name", at: "Last" };
  const names = Object.keys(labels).filter((name) => used(data.rows[name]));
  // what needs somebody comes first, also before anybody has sorted
  const URGENT = ["rejected", "gave_up", "vanished", "in_doubt", "deferred", "pending", "deleted", "skipped", "accepted", "ready"];
  const rank = (name, row) => name === "state" ? URGENT.indexOf(cell(name, row)) : cell(name, row);
  const cell = (name, row) => {
    const column = data.rows[name];
    return column.values ? column.values[row] : column.words[column.at[row]];
  };
  const all = Array.from({ length: data.count }, (_, row) => row)
    .sort((a, b) => rank("state", a) - rank("state", b) || a - b);
  let ordered = all, shown = all, words = [], only = "", first = 0, sorted = "", down = false, texts = null;
  // paper has no pages to turn: it gets every row that needs somebody, and says what it leaves out
  const FAILED = new Set(["rejected", "gave_up", "vanished", "in_doubt"]);
  let printing = false;
  const failed = () => all.filter((row) => FAILED.has(cell("state", row)));
  const body = document.querySelector("#rows tbody");
  const head = document.querySelector("#rows thead");
  const titles = document.createElement("tr");
  for (const name of names) {
    const title = document.createElement("th");
    title.textContent = labels[name];
    title.tabIndex = 0;
    const sort = () => {
      down = sorted === name && !down;
      sorted = name;
      for (const other of titles.children) other.removeAttribute("aria-sort");
      title.setAttribute("aria-sort", down ? "descending" : "ascending");
      const order = (a, b) => { const x = rank(name, a), y = rank(name, b); return x < y ? -1 : x > y ? 1 : a - b; };
      ordered = [...all].sort((a, b) => down ? order(b, a) : order(a, b));
      show();
    };
    title.addEventListener("click", sort);
    title.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
    titles.append(title);
  }
  head.append(titles);
  function draw() {
    const fresh = document.createDocumentFragment();
    const rows = printing ? failed() : shown.slice(first, first + PAGE);
    document.getElementById("left-out").textContent = printing
      ? `${(data.count - rows.length).toLocaleString("en")} rows that did not fail are left out on paper: `
        + "batchsnap report --format csv has them all" : "";
    for (const row of rows) {
      const tr = document.createElement("tr");
      for (const name of names) {
        const td = document.createElement("td");
        td.textContent = cell(name, row);
        td.title = td.textContent;
        td.className = name === "state" ? "s-" + td.textContent : "c-" + name;
        tr.append(td);
      }
      fresh.append(tr);
    }
    body.replaceChildren(fresh);
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    document.getElementById("page").textContent = `${first / PAGE + 1} / ${pages}`;
    document.getElementById("shown").textContent = `${shown.length.toLocaleString("en")} of ${data.count.toLocaleString("en")}`;
    document.getElementById("prev").disabled = first === 0;
    document.getElementById("next").disabled = first + PAGE >= shown.length;
  }
  document.getElementById("prev").addEventListener("click", () => { first -= PAGE; draw(); });
  document.getElementById("next").addEventListener("click", () => { first += PAGE; draw(); });
  function show() {
    shown = ordered.filter((row) => (!only || cell("state", row) === only)
      && words.every((word) => texts[row].includes(word)));
    first = 0;
    draw();
  }
  document.getElementById("search").addEventListener("input", (event) => {
    texts ??= Array.from(all, (_, row) => names.map((name) => cell(name, row)).join("\n").toLowerCase());
    words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    show();
  });
  const filters = document.getElementById("filters");
  const states = new Map();
  for (const row of all) states.set(cell("state", row), (states.get(cell("state", row)) ?? 0) + 1);
  for (const [state, number] of states.size > 1 ? states : []) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "s-" + state;
    button.textContent = `${state.replace("_", " ")} ${number.toLocaleString("en")}`;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      only = only === state ? "" : state;
      for (const other of filters.children) other.setAttribute("aria-pressed", String(other === button && !!only));
      show();
    });
    filters.append(button);
  }
  const paper = matchMedia("print");
  const print = (on) => { if (printing !== on) { printing = on; draw(); } };
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  paper.addEventListener("change", (event) => print(event.matches));
  draw();
})();
