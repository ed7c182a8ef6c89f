// What pages do beyond HTML: draw charts, fetch what is drawn later, copy SQL, lay heat maps over.
const here = document.currentScript;
const vegaAddress = new URL(here.dataset.vega, document.baseURI);
const dark = matchMedia("(prefers-color-scheme: dark)");

let vega;
function loadVega() {
  vega ??= new Promise((done, failed) => {
    const script = Object.assign(document.createElement("script"), { src: vegaAddress, onload: done, onerror: failed });
    document.head.append(script);
  });
  return vega;
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  };
  const ink = read("--ink"), soft = read("--soft"), line = read("--line");
  return {
    background: "transparent",
    font: style.fontFamily,
    view: { stroke: null },
    axis: { labelColor: ink, titleColor: soft, gridColor: line, domainColor: line, tickColor: line, titleFontWeight: 500, labelFontSize: 12, titleFontSize: 12, labelSeparation: 8 },
    legend: { labelColor: ink, titleColor: soft, titleFontWeight: 500, labelFontSize: 12, titleFontSize: 12, labelLimit: 140, titleLimit: 260 },
  };
}

async function drawCharts(within) {
  const boxes = [...within.querySelectorAll(".chart")];
  if (!boxes.length) return;
  await loadVega();
  for (const box of boxes) {
    const source = box.querySelector("script[type='application/json']");
    if (!source) continue;
    const target = document.createElement("div");
    target.setAttribute("aria-hidden", "true");
    box.querySelector("div")?.remove();
    box.append(target);
    const narrow = box.clientWidth < 520;
    const room = Math.round(Math.max(100, Math.min(260, box.clientWidth * .5)));
    const spec = JSON.parse(source.textContent.replace(/"labelLimit":\s*\d+/g, `"labelLimit": ${room}`).replace(/"columns":\s*\d+/g, `"columns": ${narrow ? 2 : 4}`));
    const config = theme();
    if (narrow) config.legend = { ...config.legend, orient: "bottom", columns: 2 };
    await window.vegaEmbed(target, spec, { actions: false, renderer: "svg", config, tooltip: { theme: dark.matches ? "dark" : "light" } });
  }
}

async function fetchLater(box) {
  const address = box.dataset.rest;
  delete box.dataset.rest;
  try {
    const answer = await fetch(address);
    const text = await answer.text();
    if (answer.ok) {
      box.innerHTML = text;
    } else {
      const said = box.querySelector(".waiting span");
      if (said) said.textContent = text;
    }
  } catch {
    const said = box.querySelector(".waiting span");
    if (said) said.textContent = "the server does not answer; is headatlas explore still running?";
  }
  box.removeAttribute("aria-busy");
  await enliven(box);
}

async function enliven(within) {
  await drawCharts(within);
  for (const box of within.querySelectorAll("[data-rest]")) watch.observe(box);
}

const watch = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting && entry.target.dataset.rest) {
      watch.unobserve(entry.target);
      fetchLater(entry.target);
    }
  }
}, { rootMargin: "300px" });

// A link that changes one panel alone: the rest of the page stays where it is.
document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-swap]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  const box = document.getElementById(link.dataset.swap);
  if (!box) return;
  event.preventDefault();
  const place = new URL(link.href), asked = new URL(link.href), label = link.getAttribute("aria-label");
  place.hash = asked.hash = "";
  asked.searchParams.set("panel", link.dataset.swap);
  box.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(asked);
    if (!answer.ok) throw new Error(answer.statusText);
    delete box.dataset.rest;
    watch.unobserve(box);
    box.innerHTML = await answer.text();
    history.replaceState(null, "", place);
  } catch {
    location.assign(link.href);
    return;
  }
  box.removeAttribute("aria-busy");
  if (!box.contains(link)) {
    const name = label?.split(",")[0];
    const same = [...box.querySelectorAll("a[data-swap]")].find((one) => name && one.getAttribute("aria-label")?.split(",")[0] === name);
    const heading = box.querySelector("h2");
    heading?.setAttribute("tabindex", "-1");
    (same ?? heading)?.focus({ preventScroll: true });
    box.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }
  await enliven(box);
});

// What a cell says when the pointer or the keyboard is on it, at once and in the page's own type.
const tip = Object.assign(document.createElement("div"), { className: "tip", role: "tooltip", id: "tip", hidden: true });
document.body.append(tip);
function showTip(event) {
  const over = event.target.closest?.("[data-tip]");
  for (const one of document.querySelectorAll("[aria-describedby=tip]")) one.removeAttribute("aria-describedby");
  tip.hidden = !over;
  if (!over) return;
  tip.textContent = over.dataset.tip;
  over.setAttribute("aria-describedby", "tip");
  const at = over.getBoundingClientRect(), own = tip.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.left + at.width / 2 - own.width / 2, document.documentElement.clientWidth - own.width - 8));
  const above = at.top - own.height - 8;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 8 ? above : at.bottom + 8}px`;
}
document.addEventListener("mouseover", showTip);
document.addEventListener("focusin", showTip);
document.addEventListener("scroll", () => (tip.hidden = true), { passive: true, capture: true });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

document.addEventListener("focusin", async (event) => {
  const select = event.target.closest("select[data-options]");
  if (!select) return;
  const address = select.dataset.options;
  delete select.dataset.options;
  const names = await (await fetch(address)).json();
  select.append(...names.filter((n) => n !== select.value).map((n) => new Option(n)));
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = button.closest("details").querySelector("pre").textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    const range = document.createRange();
    range.selectNodeContents(button.closest("details").querySelector("pre"));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-heat-toggle]")) {
    for (const picture of event.target.closest(".panel").querySelectorAll("img[data-heat]")) {
      picture.dataset.plain ??= picture.src;
      picture.style.opacity = event.target.checked ? .5 : 1;
      picture.onload = () => (picture.style.opacity = 1);
      picture.src = event.target.checked ? picture.dataset.heat : picture.dataset.plain;
    }
  }
  if (event.target.matches(".inline select, .choosers select")) {
    const form = event.target.form;
    if (!form.hasAttribute("data-maps")) form.requestSubmit();
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-maps]");
  if (!form) return;
  event.preventDefault();
  const box = form.parentElement.querySelector(".mapbox");
  box.replaceChildren(Object.assign(document.createElement("p"), { className: "hint", textContent: "working: the model is loaded at the first question…" }));
  const address = `${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}`;
  fetch(address).then(async (answer) => {
    if (!answer.ok) throw new Error(await answer.text());
    const picture = new Image();
    picture.alt = `map of ${form.elements.text.value} by ${form.elements.method.value}`;
    picture.src = URL.createObjectURL(await answer.blob());
    box.replaceChildren(picture);
  }).catch((error) => {
    box.replaceChildren(Object.assign(document.createElement("p"), { className: "empty", textContent: error.message }));
  });
});

async function lookForNewer() {
  const box = document.getElementById("newer");
  if (!box?.dataset.version || !location.protocol.startsWith("http")) return;
  try {
    const { version } = await (await fetch("/version")).json();
    if (String(version) !== box.dataset.version) box.textContent = `version ${version} has been published: reload to see it`;
  } catch { /* the server is gone: the page stays as it is */ }
}
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && lookForNewer());
setInterval(lookForNewer, 30000);

dark.addEventListener("change", () => drawCharts(document));
enliven(document);
