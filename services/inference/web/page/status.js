// The status page: asks its own address for figures every few seconds, and shows them.
// What comes from the service is only ever set as text.

const byId = (id) => document.getElementById(id);
const EVERY_MS = 2000;
const RECENT_MS = 60000; // of "just now"
const KEPT_MS = 600000; // of the chart
const seen = []; // {at, figures}, the oldest first
// What the metrics call by a word.
const COMPARED = { alike: "Answered alike by both", unlike: "Answered otherwise by the challenger", unknown: "Unknown to the challenger alone", slow: "Slow at the challenger", failed: "Failed by the challenger" };
const LABELS = { trusted: "Labels with a key", untrusted: "Labels without a key", repeated: "Labels sent again" };

look();

async function look() {
  try {
    const answer = await fetch("/status", { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error((await answer.json()).message);
    show(await answer.json());
  } catch (error) {
    byId("looked").textContent = `No answer at ${new Date().toLocaleTimeString()}: ${error.message}. What stands here is from before.`;
  }
  setTimeout(look, EVERY_MS);
}

function show(status) {
  const now = Date.now();
  const last = seen.at(-1);
  if (last && total(status.figures.requests) < total(last.figures.requests)) seen.length = 0; // it began anew
  seen.push({ at: now, figures: status.figures });
  while (now - seen[0].at > KEPT_MS) seen.shift();
  byId("looked").textContent = `At ${new Date(now).toLocaleTimeString()}, again every ${EVERY_MS / 1000} seconds.`;
  showModel(status);
  showRequests(now);
  showRollout(status);
  showLog(status);
  showDrift(status.drift);
  showSchedule(status.schedule);
  draw();
}

// --- parts -----------------------------------------------------------------------------------------------------------

function showModel({ model, reasons, challenger }) {
  const facts = model ? [`Version ${model.version}`, model.alias, `since ${time(model.since)}`, model.engine.name] : ["No model is served yet"];
  byId("facts").replaceChildren(...facts.map((text) => element("li", text)));
  const problem = model ? model.problem : reasons[0];
  byId("problem").hidden = !problem;
  byId("problem").textContent = problem ? `What the alias points at is not served: ${problem}` : "";
  byId("challenger").hidden = !challenger;
  byId("challenger").textContent = challenger ?? "";
}

function showRequests(now) {
  const latest = seen.at(-1).figures;
  const first = seen.find(({ at }) => now - at <= RECENT_MS);
  const seconds = (now - first.at) / 1000;
  byId("recent-title").textContent = seconds ? `last ${Math.round(seconds)}\u00a0s` : "just now";
  const recent = seconds ? between(first.figures, latest) : null;
  const answered = ({ requests }) => total(requests);
  const failed = ({ requests }) => total(requests, (status) => status.startsWith("5"));
  const refused = ({ requests }) => total(requests, (status) => status.startsWith("4"));
  const rows = [
    ["Requests", answered, (n) => (n === null ? "" : number(n))],
    ["Requests a second", null],
    ["Rows predicted", ({ rows }) => total(rows), number],
    ["Refused, the client's fault (4xx)", refused, number],
    ["Failed (5xx)", failed, number],
    ...[0.5, 0.95, 0.99].map((q) => [q === 0.5 ? "Median time" : `${q * 100} % are answered within`, (f) => quantile(f.seconds, q), duration]),
  ];
  byId("requests").replaceChildren(
    ...rows.map(([title, of, shown]) =>
      of
        ? line(title, recent ? shown(of(recent)) : "…", shown(of(latest)))
        : line(title, recent ? number(answered(recent) / seconds) : "…", ""),
    ),
    line("Being answered now", number(latest.in_flight), ""),
    line("Large ones that wait", number(latest.waiting), ""),
    ...Object.entries(latest.errors).map(([kind, count]) => line(kind, recent ? number(recent.errors[kind] ?? 0) : "…", number(count))),
  );
}

function showRollout({ model, under_way: underWay, figures }) {
  list("rollout", [
    ["Served", model ? `version ${model.version}, since ${time(model.since)}` : "none"],
    ["Under way", underWay ? `version ${underWay.version}, since ${time(underWay.since)}` : "nothing"],
    ...Object.entries(figures.rows).map(([version, rows]) => [`Rows that version ${version} answered`, number(rows)]),
    ["Changes since the start", number(figures.swaps)],
    ["Refused", Object.keys(figures.refused_versions).map((version) => `version ${version}`).join(", ") || "none"],
    ...Object.entries(compared(figures.challenger)).map(([result, rows]) => [COMPARED[result] ?? result, number(rows)]),
    ...Object.entries(figures.shadow).map(([result, rows]) => [`In shadow: ${result}`, number(rows)]),
    ...Object.entries(figures.shadow_milliseconds).map(([version, mean]) => [`In shadow version ${version} takes`, `${number(mean * 1000)} µs`]),
  ]);
}

/** All that may be counted of a challenger, once any of it has been. */
function compared(counts) {
  return total(counts) ? { ...Object.fromEntries(Object.keys(COMPARED).map((result) => [result, 0])), ...counts } : {};
}

function showLog({ prediction_log: log, figures }) {
  const dropped = Object.entries(figures.prediction_log_dropped).filter(([, count]) => count > 0);
  const labels = Object.entries(figures.labels);
  list("log", [
    ["Kept", log ? (log.problem ? `nothing: ${log.problem}` : share(log.share)) : "nothing: it is off"],
    ...dropped.map(([reason, count]) => [`Not kept (${reason})`, number(count)]),
    ...labels.map(([result, count]) => [LABELS[result] ?? result, number(count)]),
  ]);
}

function showDrift(drift) {
  if (!drift) return list("drift", [["Monitor", "does not answer, or is not on"]]);
  list("drift", [
    ["Verdict", drift.looked === null ? "none yet" : drift.drift ? `drift: ${drift.columns.join(", ")}` : "no drift"],
    ...(drift.looked === null ? [] : [["Looked", time(drift.looked)]]),
    ["Rows", number(drift.rows)],
    ...(drift.accuracy == null ? [] : [["Accuracy", `${share(drift.accuracy)} of ${number(drift.labelled_rows)} with a label`]]),
    ...(drift.estimated_accuracy == null ? [] : [["Estimated without labels", share(drift.estimated_accuracy)]]),
    ...(drift.problem ? [["Problem", drift.problem]] : []),
  ]);
}

function showSchedule(schedule) {
  if (!schedule) return list("schedule", [["Schedule", "does not answer, or is not on"]]);
  const { last, problem } = schedule.challenge || {};
  list("schedule", [
    ["Next", schedule.next ? time(schedule.next) : "never by the clock"],
    ["Running", schedule.running ? `since ${time(schedule.running.started)}` : "none"],
    ["Last", schedule.last ? `${schedule.last.outcome}, ${time(schedule.last.ended)}` : "none yet"],
    ...(schedule.last && schedule.last.reason ? [["Because", schedule.last.reason]] : []),
    ...(last ? [["Challenge", `${last.outcome}: version ${last.version}, ${time(last.time)}: ${last.reason}`]] : []),
    ...(problem ? [["In its way", problem]] : []),
  ]);
}

/** Requests a second between two looks, as bars; the chart has no more words than its caption. */
function draw() {
  const canvas = byId("chart");
  const { width, height } = canvas.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const rates = seen.slice(1).map(({ at, figures }, i) => (total(figures.requests) - total(seen[i].figures.requests)) / ((at - seen[i].at) / 1000));
  const most = Math.max(...rates, 0);
  byId("chart-words").textContent = rates.length ? `Requests a second while this page is open: ${number(rates.at(-1))} now, at most ${number(most)}.` : "";
  const paint = canvas.getContext("2d");
  paint.scale(scale, scale);
  paint.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  const step = Math.max(3, width / Math.max(rates.length, 60));
  rates.slice(-Math.floor(width / step)).forEach((rate, i) => {
    const tall = most ? Math.max(1, (rate / most) * (height - 4)) : 1;
    paint.fillRect(i * step, height - tall, step - 1, tall);
  });
}

// --- figures ---------------------------------------------------------------------------------------------------------

function total(counts, wanted = () => true) {
  return Object.entries(counts).reduce((sum, [name, count]) => sum + (wanted(name) ? count : 0), 0);
}

/** What was counted from one look to a later one. */
function between(first, latest) {
  const less = (a, b) => Object.fromEntries(Object.entries(b).map(([name, count]) => [name, count - (a[name] ?? 0)]));
  return Object.fromEntries(["requests", "errors", "rows", "seconds"].map((name) => [name, less(first[name], latest[name])]));
}

/** The time that a share of requests was answered within, by straight lines between a histogram's bounds, as Prometheus has it. */
function quantile(counts, q) {
  const buckets = Object.entries(counts).map(([le, count]) => [le === "+Inf" ? Infinity : Number(le), count]);
  buckets.sort(([a], [b]) => a - b);
  const all = buckets.at(-1)?.[1];
  if (!all) return null;
  const i = buckets.findIndex(([, count]) => count >= q * all);
  const [low, before] = i ? buckets[i - 1] : [0, 0];
  const [high, count] = buckets[i];
  return high === Infinity ? Infinity : low + ((high - low) * (q * all - before)) / (count - before);
}

// --- words -----------------------------------------------------------------------------------------------------------

function number(value) {
  return value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });
}

function share(value) {
  return `${number(100 * value)} %`;
}

function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds === Infinity) return "over 10 s";
  if (seconds >= 1) return `${seconds.toPrecision(2)} s`;
  const ms = 1000 * seconds;
  return `${ms < 99.5 ? ms.toPrecision(2) : Math.round(ms)} ms`;
}

function time(text) {
  return new Date(text).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function line(title, ...values) {
  const row = document.createElement("tr");
  const head = element("th", title);
  head.scope = "row";
  row.append(head, ...values.map((value) => element("td", value)));
  return row;
}

function list(id, pairs) {
  byId(id).replaceChildren(...pairs.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}
