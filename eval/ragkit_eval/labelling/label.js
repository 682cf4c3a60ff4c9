"use strict";
// The page of `ragkit eval label --html`: marks units, keeps the marks in this browser, and makes
// the same lines as labelling in a terminal (marks.py).

const MOST_WAYS = 64;

// Returns the needs of a line of keys, each a list of numbers of units; throws a text.
function readMarks(line, nUnits) {
  const needs = new Map();
  for (const part of line.split(/[\s,]+/).filter(Boolean)) {
    if (!/^[0-9]{1,4}(?:-[0-9]{1,4}|(?:\|[0-9]{1,4})+)?$/.test(part)) throw `${part} is no mark`;
    const numbers = part.split(/[-|]/).map(Number);
    for (const number of numbers)
      if (number < 1 || number > nUnits) throw `there is no part ${number}; there are ${nUnits}`;
    if (part.includes("-"))
      for (let n = numbers[0]; n <= numbers[1]; n++) needs.set(String(n), [n]);
    else {
      const unique = [...new Set(numbers)];
      needs.set(unique.join("|"), unique);
    }
  }
  if (!needs.size) throw "nothing is marked";
  const found = [...needs.values()];
  if (found.reduce((ways, need) => ways * need.length, 1) > MOST_WAYS)
    throw `that can be met in more than ${MOST_WAYS} ways`;
  return found;
}

// Returns the line of a labelled question; without marks, nothing answers it.
function labelled(question, marks) {
  const chosen = marks.map((need) => need.map((number) => question.units[number - 1]));
  let ways = [[]];
  for (const need of chosen) ways = ways.flatMap((way) => need.map((place) => [...way, place]));
  const unique = (values) => [...new Set(values)];
  return {
    ...question.row,
    docs: unique(chosen.flat().map((place) => place.document_id)),
    needs: chosen.map((need) => unique(need.map((place) => place.text))),
    spans: ways.flatMap((way, i) => unique(way).map((place) => ({ ...place, set: i + 1 }))),
    unanswerable: !marks.length,
    metadata: question.metadata,
  };
}

// Returns the line of keys with a unit marked or no longer marked; `either` makes it an
// alternative to the last mark.
function toggled(line, number, either) {
  const parts = line === "n" ? [] : line.split(/[\s,]+/).filter(Boolean);
  const singles = parts.flatMap((part) => {
    const range = /^([0-9]{1,4})-([0-9]{1,4})$/.exec(part);
    if (!range) return [part];
    const made = [];
    for (let n = Number(range[1]); n <= Number(range[2]); n++) made.push(String(n));
    return made;
  });
  const name = String(number);
  const without = singles
    .map((part) => part.split("|").filter((n) => n !== name).join("|"))
    .filter(Boolean);
  if (singles.some((part) => part.split("|").includes(name))) return without.join(" ");
  if (either && without.length) without.push(`${without.pop()}|${name}`);
  else without.push(name);
  return without.join(" ");
}

function start(data) {
  const place = `ragkit-label-${data.digest}`;
  let saved = {};
  try {
    saved = JSON.parse(localStorage.getItem(place) || "{}");
  } catch {
    tell("this browser keeps no marks: download them before you close the page");
  }
  let at = Math.max(0, data.questions.findIndex((question) => !(question.row._id in saved)));
  const find = (name) => document.getElementById(name);
  const keys = find("keys");

  function tell(text) {
    document.getElementById("said").textContent = text;
  }

  function make(parent, tag, name, text) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  function rows() {
    return data.questions
      .filter((question) => question.row._id in saved)
      .map((question) => {
        const line = saved[question.row._id];
        return labelled(question, line === "n" ? [] : readMarks(line, question.units.length));
      });
  }

  function show() {
    const question = data.questions[at];
    const n = Object.keys(saved).length;
    find("progress").textContent = `question ${at + 1} of ${data.questions.length}, ${n} labelled`;
    find("question").textContent = question.row.text;
    find("history").textContent = (question.row.history || [])
      .map((turn) => `${turn.role}: ${turn.content}`)
      .join("\n");
    keys.value = saved[question.row._id] || "";
    const list = find("passages");
    list.replaceChildren();
    question.passages.forEach((passage, i) => {
      const box = make(list, "details");
      box.open = i < data.open;
      make(box, "summary", "soft", passage.name);
      for (const [number, text] of passage.units) {
        const line = make(box, number ? "button" : "p", "unit");
        if (number) line.dataset.number = number;
        make(line, "span", "number", number ? String(number) : "");
        make(line, "bdi", "", text);
        if (number) line.addEventListener("click", (event) => {
          keys.value = toggled(keys.value.trim(), number, event.shiftKey);
          check();
        });
      }
    });
    check();
    scrollTo(0, 0);
    keys.focus({ preventScroll: true });
  }

  // Marks the units of the line of keys; returns whether it can be kept.
  function check() {
    const line = keys.value.trim();
    let needs = [];
    let error = "";
    try {
      if (line && line !== "n") needs = readMarks(line, data.questions[at].units.length);
    } catch (text) {
      error = String(text);
    }
    const marked = new Set(needs.flat());
    for (const unit of document.querySelectorAll("button.unit"))
      unit.setAttribute("aria-pressed", String(marked.has(Number(unit.dataset.number))));
    tell(error);
    return !error;
  }

  function keep() {
    if (!check()) return false;
    const line = keys.value.trim();
    const identity = data.questions[at].row._id;
    if (line) saved[identity] = line;
    else delete saved[identity];
    try {
      localStorage.setItem(place, JSON.stringify(saved));
    } catch {
      tell("this browser keeps no marks: download them before you close the page");
    }
    return true;
  }

  function go(step) {
    if (!keep()) return;
    at = Math.min(data.questions.length - 1, Math.max(0, at + step));
    show();
  }

  keys.addEventListener("input", check);
  keys.addEventListener("keydown", (event) => {
    if (event.key === "Enter") go(1);
  });
  find("next").addEventListener("click", () => go(1));
  find("back").addEventListener("click", () => go(-1));
  find("none").addEventListener("click", () => {
    keys.value = "n";
    go(1);
  });
  find("download").addEventListener("click", () => {
    if (!keep()) return;
    const text = rows().map((row) => `${JSON.stringify(row)}\n`).join("");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }));
    link.download = "labels.jsonl";
    link.click();
    URL.revokeObjectURL(link.href);
    tell(`${rows().length} labels downloaded`);
  });
  show();
}

if (typeof document !== "undefined")
  start(JSON.parse(document.getElementById("data").textContent));
