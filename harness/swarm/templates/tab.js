"use strict";
// A Target tab at the end of Locust's tab bar, again whenever the bar is drawn anew. Its page is a frame below the bar,
// so that Locust's own header stays; the address ends in #target while it is shown, so that it survives a reload.
(function () {
  var frame = null, style = document.createElement("style");
  // A rule, not single elements: Locust may draw its own panel after the frame. Its own tab looks unselected meanwhile.
  style.textContent = "#harness-frame ~ * { display: none !important; }" +
    ":has(+ #harness-frame) .MuiTabs-indicator, :has(~ #harness-frame) .MuiTabs-indicator { visibility: hidden; }";
  document.head.appendChild(style);
  function show(bar) {
    if (frame || !bar) { return; }
    var below = (bar.closest(".MuiTabs-root") || bar).parentNode;  // the panels are siblings of this box
    frame = document.createElement("iframe");
    frame.id = "harness-frame"; frame.src = "/target"; frame.title = "Target";
    frame.style.cssText = "border:0;width:100%;min-height:75vh";
    below.parentNode.insertBefore(frame, below.nextSibling);
    if (location.hash !== "#target") { history.replaceState(null, "", "#target"); }
    mark(bar, true);
  }
  function hide() {
    if (!frame) { return; }
    frame.remove(); frame = null;
    history.replaceState(null, "", location.pathname + location.search);
    mark(document.querySelector('[role="tablist"]'), false);
  }
  function mark(bar, on) {
    var tab = bar && bar.querySelector("#harness-target");
    if (tab) { tab.setAttribute("aria-selected", String(on)); tab.style.borderBottom = on ? "2px solid" : ""; }
  }
  function place() {
    var bar = document.querySelector('[role="tablist"]');
    if (!bar) { return; }
    if (frame && !frame.isConnected) { frame = null; }
    if (!bar.querySelector("#harness-target")) {
      var like = bar.querySelector('[role="tab"]'), tab = document.createElement("button");
      tab.id = "harness-target"; tab.type = "button"; tab.textContent = "Target"; tab.setAttribute("role", "tab");
      if (like) { tab.className = like.className.replace("Mui-selected", ""); }
      tab.addEventListener("click", function (event) { event.stopPropagation(); show(bar); });
      bar.addEventListener("click", function (event) {
        if (!event.target.closest("#harness-target")) { hide(); }
      }, true);
      bar.appendChild(tab);
      if (location.hash === "#target") { show(bar); }
    }
  }
  new MutationObserver(place).observe(document.documentElement, { childList: true, subtree: true });
  place();
})();
