"use strict";
(function () {
  var data = JSON.parse(document.getElementById("data").textContent);
  var kinds = [["fds", "descriptors"], ["threads", "threads"], ["memory", "memory (MiB, resident)"]];
  var drawn = [];
  function color(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }
  function shade(trial) {
    return function (u) {
      var ctx = u.ctx, top = u.bbox.top, height = u.bbox.height, left = u.bbox.left, right = left + u.bbox.width;
      function clamp(x) { return Math.min(right, Math.max(left, u.valToPos(x, "x", true))); }
      ctx.save();
      trial.cycles.forEach(function (c) {
        ctx.fillStyle = color("--load");
        ctx.fillRect(clamp(c.from), top, clamp(c.load) - clamp(c.from), height);
        ctx.fillStyle = color("--quiet");
        ctx.fillRect(clamp(c.load), top, clamp(c.to) - clamp(c.load), height);
      });
      ctx.restore();
    };
  }
  function mark(trial) {
    return function (u) {
      if (trial.crash === null) { return; }
      var ctx = u.ctx, x = Math.min(u.bbox.left + u.bbox.width - 2, u.valToPos(trial.crash, "x", true));
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = color("--bad");
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.beginPath(); ctx.moveTo(x, u.bbox.top); ctx.lineTo(x, u.bbox.top + u.bbox.height); ctx.stroke();
      ctx.font = 11 * devicePixelRatio + "px system-ui, sans-serif";
      ctx.textAlign = "right";
      ctx.fillText("died", x - 5 * devicePixelRatio, u.bbox.top + 13 * devicePixelRatio);
      ctx.restore();
    };
  }
  function draw() {
    drawn.forEach(function (u) { u.destroy(); });
    drawn = [];
    document.querySelectorAll(".charts").forEach(function (box) {
      var trial = data[Number(box.dataset.trial)];
      box.textContent = "";
      if (!trial.x.length) { return; }
      var end = trial.crash === null ? trial.x[trial.x.length - 1] : Math.max(trial.crash, trial.x[trial.x.length - 1]);
      trial.cycles.forEach(function (c) { end = Math.max(end, c.to); });
      // All holders first: the grid gives each its width only once it knows how many there are.
      var holders = kinds.map(function (kind) {
        var holder = document.createElement("div"), title = document.createElement("h4");
        holder.className = "chart";
        title.textContent = kind[1];
        holder.appendChild(title);
        box.appendChild(holder);
        return holder;
      });
      kinds.forEach(function (kind, index) {
        var holder = holders[index];
        var axis = { stroke: color("--soft"), grid: { stroke: color("--rule"), width: 1 }, ticks: { stroke: color("--rule") } };
        drawn.push(new uPlot({
          width: Math.max(240, holder.clientWidth), height: 190, cursor: { y: false },
          scales: { x: { time: false, range: [trial.x[0], end || 1] },
            y: { range: function (u, low, high) { return [0, Math.max(1, (high || 1) * 1.1)]; } } },
          axes: [Object.assign({ values: function (u, v) { return v.map(function (s) { return s + " s"; }); } }, axis),
            Object.assign({ size: 52 }, axis)],
          series: [{}, { stroke: color("--line"), width: 1.6, spanGaps: false, points: { show: false } }],
          hooks: { drawClear: [shade(trial)], draw: [mark(trial)] }
        }, [trial.x, trial[kind[0]]], holder));
      });
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
