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
    { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, space: roomy, values: times },
    { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, size: 46 },
  ];
  let charts = [];
  function chart(id, height, columns, series) {
    const place = document.getElementById(id);
    if (!data.series.t.length) {
      place.textContent = "nothing was sent";
      return;
    }
    const options = {
      width: place.clientWidth, height, axes: axes(), legend: { live: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      cursor: { y: false, points: { size: 5 } },
      scales: { y: { range: (_, low, high) => [0, Math.max(high || 0, 1) * 1.1] } },
      series: [{}, ...series],
    };
    const made = new uPlot(options, [data.series.t, ...columns], place);
    charts.push([made, place, height]);
  }
  const line = (label, name, more) => ({ label, stroke: color(name), width: 1.5, points: { show: false }, ...more });
  function drawCharts() {
    for (const [made] of charts) made.destroy();
    charts = [];
    const stepped = { fill: color("--fill"), paths: uPlot.paths.stepped({ align: 1 }) };
    chart("starts", 180, [data.series.starts, data.series.cap],
      [line("starts in the second", "--mark", stepped),
        line("cap", "--bad", { dash: [6, 4], paths: uPlot.paths.stepped({ align: 1 }) })]);
    chart("latency", 140, [data.series.p50, data.series.p95],
      [line("median", "--mark"), line("95 %", "--wait")]);
    chart("throttled", 140, [data.series.throttled],
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
  const labels = { disk: "Disk", region: "Region", profile: "Profile", state: "State", snapshot: "Snapshot",
    attempts: "Tries", code: "Code", remedy: "What to do", request: "RequestId", name: "Name", at: "Last" };
  const names = Object.keys(labels).filter((name) => used(data.rows[name]));
  // what needs somebody comes first
  const URGENT = ["rejected", "gave_up", "vanished", "in_doubt", "deferred", "pending", "deleted", "accepted", "ready"];
  const rank = (name, row) => name === "state" ? URGENT.indexOf(cell(name, row)) : cell(name, row);
  const cell = (name, row) => {
    const column = data.rows[name];
    return column.values ? column.values[row] : column.words[column.at[row]];
  };
  const all = Array.from({ length: data.count }, (_, row) => row);
  let ordered = all, shown = all, words = [], first = 0, sorted = "", down = false, texts = null;
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
    for (const row of shown.slice(first, first + PAGE)) {
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
    shown = words.length ? ordered.filter((row) => words.every((word) => texts[row].includes(word))) : ordered;
    first = 0;
    draw();
  }
  document.getElementById("search").addEventListener("input", (event) => {
    texts ??= all.map((row) => names.map((name) => cell(name, row)).join("\n").toLowerCase());
    words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    show();
  });
  draw();
})();
