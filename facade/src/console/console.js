"use strict";
// Replaces the sections of the overview as they come, while somebody looks. Every page works without it.
(() => {
  const sections = document.querySelectorAll("[data-live]");
  const beat = document.getElementById("beat");
  if (sections.length === 0 || !window.EventSource) return;
  const say = (text, isBad) => {
    if (beat.textContent !== text) beat.textContent = text;
    beat.className = isBad ? "bad" : "good";
  };
  // What has the focus keeps it: a keyboard must not be thrown out of the page by a new number.
  const replace = (section, html) => {
    const focused = section.contains(document.activeElement) && document.activeElement;
    const href = focused && focused.getAttribute("href");
    section.innerHTML = html;
    if (!href) return;
    const again = [...section.querySelectorAll("a")].find((link) => link.getAttribute("href") === href);
    if (again) again.focus({ preventScroll: true });
  };
  let source = null;
  const open = () => {
    if (source) return;
    source = new EventSource(document.body.dataset.base + "/events");
    sections.forEach((section) => {
      source.addEventListener(section.dataset.live, (event) => replace(section, event.data));
    });
    source.addEventListener("beat", () => say("live", false));
    source.onerror = () => say("no connection: the numbers are old", true);
  };
  const close = () => {
    if (source) source.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  if (!document.hidden) open();
})();
