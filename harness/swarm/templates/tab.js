"use strict";
// Puts a Target tab at the end of Locust's tab bar, again whenever the bar is drawn anew.
(function () {
  function place() {
    var bar = document.querySelector('[role="tablist"]');
    if (!bar || bar.querySelector("#harness-target")) { return; }
    var like = bar.querySelector('[role="tab"]'), link = document.createElement("a");
    link.id = "harness-target";
    link.href = "/target";
    link.textContent = "Target";
    link.setAttribute("role", "tab");
    if (like) { link.className = like.className.replace("Mui-selected", ""); }
    link.style.textDecoration = "none";
    bar.appendChild(link);
  }
  new MutationObserver(place).observe(document.documentElement, { childList: true, subtree: true });
  place();
})();
