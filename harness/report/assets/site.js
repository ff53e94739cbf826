"use strict";
(function () {
  var data = JSON.parse(document.getElementById("data").textContent);
  var tip = document.getElementById("tip"), drawn = [];
  function color(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }
  function short(value) {
    if (value === null) { return ""; }
    var size = Math.abs(value);
    if (size >= 1e6 || (size > 0 && size < 1e-3)) { return value.toExponential(1); }
    return String(Math.round(value * 1e4) / 1e4);
  }
  function mark(chart) {
    return function (u) {
      var ctx = u.ctx, top = u.bbox.top, height = u.bbox.height;
      ctx.save();
      chart.changes.forEach(function (change) {
        var x = u.valToPos(change.index - 0.5, "x", true);
        ctx.strokeStyle = ctx.fillStyle = color(change.open ? "--bad" : change.rose ? "--doubt" : "--good");
        ctx.lineWidth = 2 * devicePixelRatio;
        ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
        ctx.beginPath(); ctx.moveTo(x, top); ctx.lineTo(x, top + height); ctx.stroke();
        ctx.font = 11 * devicePixelRatio + "px system-ui, sans-serif";
        ctx.textAlign = x > top + u.bbox.width / 2 ? "right" : "left";
        ctx.fillText(change.rose ? "rose" : "fell", x + (ctx.textAlign === "right" ? -5 : 5) * devicePixelRatio,
          top + 12 * devicePixelRatio);
      });
      ctx.restore();
    };
  }
  function hide() { tip.hidden = true; }
  function show(chart) {
    return function (u) {
      var index = u.cursor.idx;
      if (index === null || index === undefined || u.cursor.left < 0) { hide(); return; }
      var run = data.runs[chart.runs[index]], box = u.over.getBoundingClientRect();
      tip.textContent = run.id + "\n" + run.outcome + (run.commit ? " · commit " + run.commit : "") + "\n" +
        short(chart.rate[index]) + " (" + short(chart.low[index]) + " to " + short(chart.high[index]) + ") " + chart.unit +
        (run.report ? "\nclick: its report" : "");
      tip.hidden = false;
      var left = Math.min(box.left + u.cursor.left + 12, document.documentElement.clientWidth - tip.offsetWidth - 4);
      tip.style.left = Math.max(2, left) + scrollX + "px";
      tip.style.top = box.top + scrollY + Math.max(0, u.cursor.top) + 14 + "px";
    };
  }
  function draw() {
    hide();
    drawn.forEach(function (u) { u.destroy(); });
    drawn = [];
    document.querySelectorAll(".plot").forEach(function (holder) {
      var chart = data.charts[Number(holder.dataset.chart)];
      var x = chart.rate.map(function (_, index) { return index; });
      var axis = { stroke: color("--soft"), grid: { stroke: color("--rule"), width: 1 }, ticks: { stroke: color("--rule") } };
      var edge = { stroke: "transparent", width: 0, points: { show: false } };
      var u = new uPlot({
        width: Math.max(220, holder.clientWidth), height: 190, legend: { show: false }, cursor: { y: false },
        scales: { x: { time: false, range: [-0.5, Math.max(1, x.length - 0.5)] },
          y: { range: function (u, low, high) {
            var pad = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1e-3;
            return [low - pad, high + pad];
          } } },
        axes: [Object.assign({ incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000], values: function (u, v) {
          return v.map(function (i) { var run = data.runs[chart.runs[i]]; return run ? run.day : ""; });
        }, space: 60 }, axis), Object.assign({ size: 62, values: function (u, v) { return v.map(short); } }, axis)],
        bands: [{ series: [3, 2], fill: color("--load") }],
        series: [{}, { stroke: color("--line"), width: 1.6, points: { show: true, size: 5, fill: color("--line") } }, edge, edge],
        hooks: { draw: [mark(chart)], setCursor: [show(chart)] }
      }, [x, chart.rate, chart.low, chart.high], holder);
      u.over.addEventListener("click", function () {
        var run = u.cursor.idx === null ? null : data.runs[chart.runs[u.cursor.idx]];
        if (run && run.report) { location.href = run.report; }
      });
      u.over.addEventListener("mouseleave", hide);
      drawn.push(u);
    });
    document.documentElement.dataset.charts = String(drawn.length);
  }
  var button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", function () {
    var dark = document.documentElement.dataset.theme
      ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  var timer;
  addEventListener("resize", function () { clearTimeout(timer); timer = setTimeout(draw, 100); });
  addEventListener("beforeprint", draw);
  draw();
})();
