// The form of the prediction page: it asks the service as any client does, and shows the answer.
// What comes from the model or the service is only ever set as text.

const byId = (id) => document.getElementById(id);
const FIRST_CLASSES = 10;
const LOOK_AGAIN_MS = 5000;
const NUMBER = /^[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?$/i;
const THOUSANDS = /^[+-]?[1-9]\d{0,2},\d{3}$/; // to one a thousand, to another a decimal: 1,234

if (byId("page-data")) askTheModel(JSON.parse(byId("page-data").textContent));
if (byId("looking")) lookForAModel();

function askTheModel(page) {
  const { columns, examples } = page;
  const path = page.named ? "/predict_names" : "/invocations";
  const address = page.url.replace(/\/+$/, "") + path;
  const controls = columns.map((_, i) => byId(`value-${i}`));
  const others = columns.map((_, i) => byId(`other-${i}`)); // beside a list of categories, what is in none of them
  let asking; // the request under way, which a newer one takes the place of

  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    predict();
  });
  byId("form").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.tagName === "TEXTAREA" && (event.ctrlKey || event.metaKey)) predict();
  });
  byId("form").addEventListener("input", (event) => {
    const index = Math.max(controls.indexOf(event.target), others.indexOf(event.target));
    if (index < 0) return;
    complain(index, "");
    showOther(index);
    if (event.target === controls[index] && isOther(index)) others[index].focus();
    markExample();
    writeCalls();
  });
  for (const button of document.querySelectorAll("[data-example]")) {
    button.addEventListener("click", () => {
      fill(examples[button.dataset.example].row);
      predict();
    });
  }
  for (const button of document.querySelectorAll("[data-copies]")) {
    button.addEventListener("click", () => copy(button.dataset.copies));
  }
  const fields = filterFields(columns, page.shownFields);
  if (examples.length) fill(examples[0].row);
  markExample();
  writeCalls();
  if (examples.length) predict({ unasked: true });

  // --- the row -----------------------------------------------------------------------------------------------------

  function fill(row) {
    row.forEach((value, i) => {
      if (others[i]) choose(i, value);
      else controls[i].value = value === null ? "" : String(value);
      complain(i, "");
    });
    markExample();
    writeCalls();
  }

  /** Choose a category; what is none is put into the field for other values. */
  function choose(index, value) {
    const options = [...controls[index].options];
    const isNamed = (option) => !("other" in option.dataset) && option.value === (value ?? "");
    controls[index].selectedIndex = options.findIndex(isNamed);
    if (controls[index].selectedIndex < 0) controls[index].selectedIndex = options.length - 1;
    others[index].value = isOther(index) ? (value ?? "") : "";
    showOther(index);
  }

  function isOther(index) {
    return others[index] && "other" in controls[index].selectedOptions[0].dataset;
  }

  function showOther(index) {
    if (!others[index]) return;
    others[index].hidden = !isOther(index);
    const text = others[index].value;
    const isUnknown = isOther(index) && text !== "" && !columns[index].categories.includes(text);
    byId(`unknown-${index}`).textContent = isUnknown ? "Not among the values of the training data." : "";
  }

  function valueOf(index) {
    const { value: text } = isOther(index) ? others[index] : controls[index];
    const { kind, missing } = columns[index];
    if (kind === "number") return Number.isFinite(numberIn(text)) ? numberIn(text) : null;
    if (text === "" && (missing || kind !== "text")) return null;
    return kind === "boolean" ? text === "true" : text;
  }

  function row() {
    return columns.map((_, i) => valueOf(i));
  }

  function markExample() {
    const current = JSON.stringify(row());
    for (const button of document.querySelectorAll("[data-example]")) {
      const same = JSON.stringify(examples[button.dataset.example].row) === current;
      button.setAttribute("aria-pressed", String(same));
    }
  }

  /** Say what is wrong with each field that the service would refuse for sure; return the first one's index, or -1. */
  function findFaults() {
    const faulty = columns.map(({ kind, missing }, i) => {
      const text = controls[i].value.trim();
      const wrong = kind === "number" && !(text === "" ? missing : Number.isFinite(numberIn(text)));
      complain(i, wrong ? whatToEnter(text) : "");
      return wrong;
    });
    return faulty.indexOf(true);
  }

  function complain(index, words) {
    byId(`error-${index}`).textContent = words;
    const control = isOther(index) ? others[index] : controls[index];
    if (words) control.setAttribute("aria-invalid", "true");
    else for (const one of [controls[index], others[index]]) one?.removeAttribute("aria-invalid");
  }

  function pointAt(index) {
    fields.reveal(index);
    (isOther(index) ? others[index] : controls[index]).focus();
  }

  // --- asking ------------------------------------------------------------------------------------------------------

  /** Ask the service; `unasked` is of the first example as the page opens, which moves neither page nor cursor. */
  async function predict({ unasked = false } = {}) {
    asking?.abort();
    const first = findFaults();
    if (first >= 0) {
      if (unasked) return;
      const one = document.querySelectorAll("[aria-invalid]").length === 1;
      fail(one ? `${columns[first].name} needs a number.` : "Some fields need a number.");
      pointAt(first);
      return;
    }
    const request = (asking = new AbortController());
    byId("answer").setAttribute("aria-busy", "true");
    try {
      await ask(request.signal, unasked);
    } catch (error) {
      if (request.signal.aborted) return;
      fail(`The service did not answer: ${error.message}.`);
    }
    if (asking === request) byId("answer").removeAttribute("aria-busy");
  }

  async function ask(signal, unasked) {
    const asked = JSON.stringify(row());
    const started = performance.now();
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: body(),
      signal,
    });
    const text = await answer.text();
    const elapsed = performance.now() - started;
    if (answer.ok) show(JSON.parse(text), answer.headers, elapsed, asked);
    else refuse(answer, text);
    if (answer.ok && !unasked) bringIntoView(byId("answer"));
    noticeMove(answer.headers);
  }

  function body() {
    return `{"instances": [[${row().map((value) => JSON.stringify(value)).join(", ")}]]}`;
  }

  /** Show the service's error, beside the field that it names where it names one. */
  function refuse(answer, text) {
    let error = {};
    try {
      error = JSON.parse(text);
    } catch {
      // An answer that is not the service's own, such as a proxy's.
    }
    const index = indexOf(error.where);
    let message = error.message ?? `The service answered with status ${answer.status}.`;
    if (index >= 0 && message.startsWith(error.where)) message = columns[index].name + message.slice(error.where.length);
    const request = answer.headers.get("X-Request-ID");
    fail(message, [error.error_code, request && `request ${request}`].filter(Boolean).join(", "));
    if (index >= 0) {
      complain(index, message);
      pointAt(index);
    }
  }

  /** Return which column a place such as "instances[0][2]" is, -1 where it is none. */
  function indexOf(where) {
    const index = Number(/^instances\[0\]\[(\d+)\]$/.exec(where ?? "")?.[1] ?? -1);
    return index < columns.length ? index : -1;
  }

  function fail(message, details = "") {
    byId("waiting").hidden = true;
    byId("result").hidden = true;
    byId("spoken").textContent = "";
    byId("answer").removeAttribute("aria-busy");
    byId("failure").replaceChildren(element("p", message), ...(details ? [element("p", details, "details")] : []));
  }

  // --- the answer --------------------------------------------------------------------------------------------------

  function show({ predictions, probabilities }, headers, elapsed, asked) {
    const [prediction] = predictions;
    const shares = probabilities ? Object.entries(probabilities[0]).sort((a, b) => b[1] - a[1]) : [];
    const { title, detail, exact = "" } = named(prediction, probabilities?.[0]);
    const truth = ofExample(asked);
    byId("failure").replaceChildren();
    byId("waiting").hidden = true;
    byId("prediction").textContent = title;
    byId("prediction").title = exact;
    byId("confidence").textContent = detail;
    byId("target").textContent = truth;
    byId("probabilities").hidden = shares.length === 0;
    drawBars(shares);
    const version = headers.get("X-Model-Version") ?? page.version;
    const milliseconds = elapsed < 1 ? "less than 1 ms" : `${Math.round(elapsed)} ms`;
    const by = `Version ${version} of ${headers.get("X-Model-Name") ?? page.name} answered in ${milliseconds}.`;
    const request = headers.get("X-Request-ID");
    byId("by").replaceChildren(by, ...(request ? [element("span", `Request ${request}`, "request")] : []));
    byId("result").hidden = false;
    byId("spoken").textContent = [title, detail, truth, by].filter(Boolean).join(". ");
  }

  /** Return a prediction in large letters, and what is to be said of it below them. */
  function named(prediction, shares) {
    if (shares) return { title: String(prediction), detail: `${percent(shares[prediction])} probable` };
    const name = Number.isInteger(prediction) ? page.classNames?.[prediction] : undefined;
    if (name !== undefined) return { title: name, detail: `class ${prediction}` };
    if (page.quantity && typeof prediction === "number") {
      const error = page.usualError === null ? "" : `usually off by ${quantity(page.usualError)} (mean absolute error)`;
      return { title: quantity(prediction, page.usualError), detail: error, exact: String(prediction) };
    }
    return { title: String(prediction), detail: "" };
  }

  /** Return what the data say of a row that is one of the examples, nothing where it is none or they do not say. */
  function ofExample(asked) {
    const target = examples.find((example) => JSON.stringify(example.row) === asked)?.target ?? null;
    if (target === null) return "";
    return `The data say: ${typeof target === "number" ? quantity(target, page.usualError) : target}`;
  }

  function drawBars(shares) {
    const rows = shares.map(([name, share]) => bar(name, share));
    const more = byId("all-classes");
    byId("bars").replaceChildren(...rows);
    more.hidden = rows.length <= FIRST_CLASSES;
    const draw = (all) => {
      rows.forEach((item, i) => (item.hidden = !all && i >= FIRST_CLASSES));
      more.textContent = all ? `Show the ${FIRST_CLASSES} likeliest` : `Show all ${rows.length} classes`;
      more.setAttribute("aria-expanded", String(all));
    };
    draw(false);
    more.onclick = () => draw(more.getAttribute("aria-expanded") === "false");
  }

  function bar(name, share) {
    const item = element("li");
    const track = element("span", "", "track");
    const level = element("span", "", "level");
    level.style.inlineSize = `${share * 100}%`;
    track.append(level);
    item.append(element("span", name, "name"), element("span", percent(share), "share"), track);
    return item;
  }

  /** Say so when another version than the page's own has answered. */
  function noticeMove(headers) {
    const version = headers.get("X-Model-Version");
    byId("moved").hidden = [null, page.version, page.challenger].includes(version);
    byId("moved-words").textContent = byId("moved").hidden ? "" : `Version ${version} is served now.`;
  }

  // --- the same call elsewhere -------------------------------------------------------------------------------------

  function writeCalls() {
    // An apostrophe would end the shell's quotes; in JSON it may be written as its number.
    const data = body().replaceAll("'", "\\u0027");
    byId("curl").textContent = [
      `curl ${inShell(address)} \\`,
      "  -H 'Content-Type: application/json' \\",
      ...(page.asksForKey ? ['  -H "Authorization: Bearer $API_KEY" \\'] : []),
      `  -d '${data}'`,
    ].join("\n");
    byId("python").textContent = [
      ...(page.asksForKey ? ["import os", ""] : []),
      "import requests",
      "",
      "answer = requests.post(",
      `    ${JSON.stringify(address)},`,
      `    json={"instances": [[${row().map(inPython).join(", ")}]]},`,
      ...(page.asksForKey ? ['    headers={"Authorization": f"Bearer {os.environ[\'API_KEY\']}"},'] : []),
      "    timeout=10,",
      ")",
      "answer.raise_for_status()",
      "print(answer.json())",
    ].join("\n");
  }
}

/** Return the number that somebody has typed, with a decimal point or a decimal comma; NaN where it is none, or may be two. */
function numberIn(text) {
  const typed = text.trim();
  return NUMBER.test(typed) && !THOUSANDS.test(typed) ? Number(typed.replace(",", ".")) : NaN;
}

function whatToEnter(text) {
  if (!THOUSANDS.test(text)) return "Enter a number.";
  return `Enter ${text.replaceAll(",", "")}, or ${text.replace(",", ".")} where the comma is a decimal one.`;
}

function inShell(text) {
  return /^[\w:/.-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function inPython(value) {
  return new Map([[null, "None"], [true, "True"], [false, "False"]]).get(value) ?? JSON.stringify(value);
}

/** Copy a call; where the browser does not let it, select it, so that Ctrl+C does. */
async function copy(id) {
  const code = byId(id);
  const told = byId(`${id}-copied`);
  try {
    await navigator.clipboard.writeText(code.textContent);
    told.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    told.textContent = "Selected: press Ctrl+C";
  }
}

/** Show the first fields, those that are looked for, or all; return a way to show a hidden one. */
function filterFields(columns, first) {
  const search = byId("filter");
  if (!search) return { reveal: () => {} };
  const boxes = [...document.querySelectorAll("[data-index]")];
  const all = byId("all-fields");
  let expanded = false;

  function draw() {
    const wanted = search.value.trim().toLowerCase();
    const found = columns.map(({ name }) => name.toLowerCase().includes(wanted));
    let left = expanded ? columns.length : first;
    boxes.forEach((box, i) => (box.hidden = !found[i] || left-- <= 0));
    const shown = boxes.filter((box) => !box.hidden).length;
    const hits = found.filter(Boolean).length;
    byId("filter-count").textContent = wanted
      ? `${hits} found${hits > shown ? `, the first ${shown} shown` : ""}`
      : `${shown} of ${columns.length} shown; all are sent`;
    all.textContent = expanded ? `Show the first ${first}` : `Show all ${wanted ? hits : columns.length} columns`;
    all.hidden = !expanded && hits <= first;
    all.setAttribute("aria-expanded", String(expanded));
  }

  search.addEventListener("input", draw);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault(); // it looks for a field; it does not ask the model
  });
  all.addEventListener("click", () => {
    expanded = !expanded;
    draw();
  });
  draw();
  return { reveal: (index) => (boxes[index].hidden = false) };
}

/** While there is no model: look again now and then, and open the page anew once there is one. */
function lookForAModel() {
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch("/version");
      if ((await answer.json()).model) location.reload();
    } catch {
      // The service is starting; the next look may find it.
    }
  }, LOOK_AGAIN_MS);
}

/** Return a quantity as people write it: 231,197 and 0.123457, no more digits than say something; with an error, two of its digits. */
function quantity(value, error = null) {
  const size = Math.abs(value);
  const decimals = error > 0 ? Math.min(Math.max(1 - Math.floor(Math.log10(error)), 0), 9) : 0;
  if (size >= 1e15 || (size > 0 && size < 1e-4)) return value.toPrecision(4);
  return value.toLocaleString("en", size >= 1000 ? { maximumFractionDigits: decimals } : { maximumSignificantDigits: 6 });
}

function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1%";
  if (share < 1 && share > 0.999) return "> 99.9%";
  return `${(share * 100).toFixed(share === 0 || share === 1 ? 0 : 1)}%`;
}

function bringIntoView(box) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  box.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
}

function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}
