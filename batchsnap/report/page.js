"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();

  // ---- charts ------------------------------------------------------------------------------
  const DAY = "\n{YYYY}-{MM}-{DD}", MINUTE = DAY + " {HH}:{mm}";
  const times = [
    [86400, "{YYYY}-{MM}-{DD}", null, null, null, null, null, null, 1],
    [3600, "{HH}:{mm}", DAY, null, DAY, null, null, null, 1],
    [60, "{HH}:{mm}", DAY, null, DAY, null, null, null, 1],
    [1, ":{ss}", MINUTE, null, MINUTE, null, MINUTE, null, 1],
    [0.001, ":{ss}", MINUTE, null, MINUTE, null, MINUTE, null, 1],
  ];
  const axes = () => [
    { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, values: times },
    { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, size: 46 },
  ];
  const charts = [];
  function chart(id, height, columns, series, max) {
    const place = document.getElementById(id);
    if (!data.series.t.length) {
      place.textContent = "nothing was sent";
      return;
    }
    const options = {
      width: place.clientWidth, height, axes: axes(), legend: { live: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      cursor: { y: false, points: { size: 5 } },
      scales: { y: { range: (_, low, high) => [0, Math.max(max || 0, high || 0, 1) * 1.1] } },
      series: [{}, ...series],
    };
    const made = new uPlot(options, [data.series.t, ...columns], place);
    charts.push([made, place, height]);
  }
  const line = (label, name, more) => ({ label, stroke: color(name), width: 1.5, points: { show: false }, ...more });
  const cap = data.series.t.map(() => data.cap);
  chart("starts", 190, [data.series.starts, cap],
    [line("starts in the second", "--mark", { fill: color("--fill"), paths: uPlot.paths.stepped({ align: 1 }) }),
      line("cap", "--bad", { dash: [6, 4] })], data.cap);
  chart("latency", 150, [data.series.p50, data.series.p95],
    [line("median", "--mark"), line("95 %", "--wait")]);
  chart("throttled", 150, [data.series.throttled],
    [line("throttled calls", "--bad", { fill: color("--fill"), paths: uPlot.paths.stepped({ align: 1 }) })]);
  addEventListener("resize", () => {
    for (const [made, place, height] of charts) made.setSize({ width: place.clientWidth, height });
  });

  // ---- rows --------------------------------------------------------------------------------
  const PAGE = 100;
  const used = (column) => (column.values ?? column.words).some((value) => value !== "");
  const names = Object.keys(data.rows).filter((name) => used(data.rows[name]));
  const labels = { disk: "Disk", region: "Region", state: "State", snapshot: "Snapshot", name: "Name",
    attempts: "Tries", request: "RequestId", code: "Code", remedy: "What to do", at: "Last" };
  const cell = (name, row) => {
    const column = data.rows[name];
    return column.values ? column.values[row] : column.words[column.at[row]];
  };
  const all = Array.from({ length: data.count }, (_, row) => row);
  let shown = all, first = 0, sorted = "", down = false, texts = null;
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
      const order = (a, b) => { const x = cell(name, a), y = cell(name, b); return x < y ? -1 : x > y ? 1 : a - b; };
      shown = [...shown].sort((a, b) => down ? order(b, a) : order(a, b));
      first = 0;
      draw();
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
        if (name === "state") td.className = "s-" + td.textContent;
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
  document.getElementById("search").addEventListener("input", (event) => {
    texts ??= all.map((row) => names.map((name) => cell(name, row)).join("\n").toLowerCase());
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = all.filter((row) => words.every((word) => texts[row].includes(word)));
    first = 0;
    sorted = "";
    draw();
  });
  draw();
})();
