"use strict";
const SIDE = 28, CLASSES = 10;
const TAKEN = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff"];  // by the server
const MOST_BYTES = 20e6, MOST_PIXELS = 50e6;
const LARGEST = 1600;  // pixels of a picture's longer side: to more the program would reduce it
const PAUSE = 150;  // milliseconds after a stroke before it asks
const REASONS = { "touching": "its strokes touch, and may be cut in the wrong place", "low confidence": "not quite sure", "unlike a digit": "unlike the digits it has learned" };
const $ = id => document.getElementById(id);
const sheet = $("sheet"), canvas = $("canvas");

// What was done: strokes {points, width}, in shares of the sheet's width; pictures {image, file, width, height}; and {cleared}.
const history = [], drawing = new Map();  // the latter: strokes not ended yet, by pointer
let version = 0, asking = false, timer = 0, frame = 0, digits = [], playing = 0;

function shown() {  // the picture, if any, and the strokes since it or since all was cleared
  const start = history.findLastIndex(entry => !entry.points);
  return { picture: history[start]?.image && history[start], strokes: history.slice(start + 1) };
}

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

function render(target, ink, paper) {
  const context = target.getContext("2d", { willReadFrequently: target !== canvas }), { picture, strokes } = shown(), { width, height } = target;
  context.fillStyle = paper;
  context.fillRect(0, 0, width, height);
  if (picture) context.drawImage(picture.image, 0, 0, width, height);
  context.strokeStyle = picture ? "#111" : ink;
  context.lineCap = context.lineJoin = "round";
  for (const { points, width: pen } of strokes) {
    context.lineWidth = pen * width;
    context.beginPath();
    context.moveTo(points[0][0] * width, points[0][1] * width);
    for (let i = 1; i < points.length - 1; i++) {  // curves that meet halfway between the points
      const [x, y] = points[i], [nextX, nextY] = points[i + 1];
      context.quadraticCurveTo(x * width, y * width, (x + nextX) / 2 * width, (y + nextY) / 2 * width);
    }
    const [x, y] = points[points.length - 1];
    context.lineTo(x * width, y * width + (points.length === 1 ? 0.01 : 0));  // a single point is a dot
    context.stroke();
  }
}

function draw() {
  const { picture, strokes } = shown(), empty = !picture && !strokes.length;
  const aspect = picture ? picture.width / picture.height : empty ? 0 : sheet.aspect ||= sheet.clientWidth / sheet.clientHeight;
  if (!strokes.length) sheet.aspect = 0;
  sheet.style.aspectRatio = aspect || "";  // kept while there are strokes, so that turning a phone cuts none off
  sheet.style.width = picture ? `min(100%, ${75 * aspect}vh)` : "";
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map(side => Math.round(side * devicePixelRatio));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  render(canvas, colour("--ink"), colour("--sheet"));
  sheet.classList.toggle("picture", Boolean(picture));
  $("hint").hidden = !empty;
  $("undo").disabled = !history.length;
  $("clear").disabled = empty;
  return empty;
}

function changed() {
  version++;
  clearTimeout(timer);
  if (draw()) show({});
  else if (!drawing.size) timer = setTimeout(ask, PAUSE);
}

function body() {
  const { picture, strokes } = shown(), file = picture?.file;
  if (file && !strokes.length && TAKEN.includes(file.type) && file.size <= MOST_BYTES && picture.pixels <= MOST_PIXELS) return file;
  const sent = document.createElement("canvas");
  sent.width = picture ? picture.image.width : Math.min(1000, canvas.clientWidth);
  sent.height = Math.round(sent.width * (picture ? picture.height / picture.width : canvas.clientHeight / canvas.clientWidth));
  render(sent, "#000", "#fff");
  const text = atob(sent.toDataURL("image/png").split(",")[1]);  // toBlob can wait for a second
  return new Blob([Uint8Array.from(text, letter => letter.charCodeAt(0))], { type: "image/png" });
}

async function ask() {  // one question at a time; what has changed meanwhile is asked next
  if (asking) return;
  asking = true;
  const asked = version;
  let answer;
  try {
    const sent = body();
    answer = await (await fetch("read", { method: "POST", headers: { "Content-Type": sent.type }, body: sent })).json();
  } catch {
    answer = { error: "no answer: is the program still running?" };
  }
  asking = false;
  if (asked === version) show(answer);
  else if (!drawing.size && !$("clear").disabled) ask();
}

function element(tag, name, text, parent) {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  parent.append(made);
  return made;
}

function percent(share) { return `${(Math.floor(share * 1000) / 10).toFixed(1)} %`; }  // never rounded up to certainty

function mark(digit, parent) {  // the digit, and a question mark where a person should look
  if (digit.check) parent.classList.add("check");
  parent.append(digit.digit ?? "_");
  if (digit.check) element("sup", "", "?", parent).setAttribute("aria-label", "to check");
}

function show(answer) {
  digits = answer.digits ?? [];
  const unsure = digits.filter(digit => digit.check), least = Math.min(...digits.map(digit => digit.confidence));
  for (const id of ["boxes", "rows", "notes", "cards"]) $(id).replaceChildren();
  for (const digit of digits) {
    const line = $("rows").children[digit.row] ?? element("div", "", "", $("rows"));
    mark(digit, element("span", "", "", line));
    addBox(digit, answer);
    if (digit.image) addCard(digit);
    if (digit.check) element("li", "", `${digit.digit ?? "_"}? ${place(digit)}: ${why(digit)}`, $("notes"));
  }
  const sure = unsure.length ? `${unsure.length} to check` : "none to check";
  $("summary").classList.toggle("error", Boolean(answer.error));
  $("summary").textContent = answer.error ?? (digits.length
    ? `${digits.length === 1 ? "1 digit" : `${digits.length} digits`} · ${digits.length === 1 ? "" : "least "}sure ${percent(least)} · ${sure}`
    : answer.width ? "No digit found" : "");
  $("inside").hidden = !$("cards").children.length;
  setRow(SIDE);
}

function place(digit) { return `in row ${digit.row + 1}, place ${digit.position + 1}`; }
function why(digit) { return `${REASONS[digit.check] ?? digit.check} (${percent(digit.confidence)})`; }

function addBox(digit, { width, height }) {
  const [left, top, right, bottom] = digit.box, box = element("div", "box", "", $("boxes"));
  const margin = 6 / canvas.clientWidth * width;
  box.style.left = `${(left - margin) / width * 100}%`;
  box.style.top = `${(top - margin) / height * 100}%`;
  box.style.width = `${(right - left + 2 * margin) / width * 100}%`;
  box.style.height = `${(bottom - top + 2 * margin) / height * 100}%`;
  box.classList.toggle("check", Boolean(digit.check));
  box.classList.toggle("below", top / height * canvas.clientHeight < 34);
  element("span", "", `${digit.digit ?? "_"}${digit.check ? " ?" : ""}`, box);
}

function addCard(digit) {
  const card = element("article", "card", "", $("cards")), title = element("h3", "", "", card);
  mark(digit, title);
  const belief = element("small", "", "", title);
  const views = element("div", "views", "", card);
  const [seen, heat] = [["seen", "What the network sees: 28 by 28 pixels"], ["heat", "Its probabilities for 0 to 9, after each of 28 rows"]].map(([name, label]) => {
    const view = element("canvas", name, "", views);
    view.setAttribute("role", "img");
    view.setAttribute("aria-label", label);
    return view;
  });
  const labels = element("div", "labels", "", views);
  for (let i = 0; i < CLASSES; i++) element("span", "", i, labels);
  labels.setAttribute("aria-hidden", "true");
  if (digit.check) { card.classList.add("check"); element("p", "why", REASONS[digit.check] ?? digit.check, card); }
  const pixels = Array.from(atob(digit.image), letter => letter.charCodeAt(0) / 255);
  digit.paint = row => {
    const now = digit.probabilities_by_row[row - 1], most = now.indexOf(Math.max(...now));
    paint(seen, pixels, SIDE, colour("--ink"), row);
    paint(heat, digit.probabilities_by_row.flat(), CLASSES, colour("--accent"), row);
    belief.textContent = row < SIDE ? `after row ${row}: ${most}, ${percent(now[most])}` : `sure ${percent(digit.confidence)}`;
    [...labels.children].forEach((label, i) => label.classList.toggle("most", i === most));
  };
}

function paint(view, values, width, hex, row) {  // what is not read yet is faint
  view.width = width;
  view.height = SIDE;
  const image = new ImageData(width, SIDE), rgb = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
  values.forEach((value, i) => {
    const y = Math.floor(i / width), next = row < SIDE && y === row - 1 ? 0.14 : 0;
    image.data.set([...rgb, 255 * Math.max(next, value * (y < row ? 1 : 0.13))], 4 * i);
  });
  view.getContext("2d").putImageData(image, 0, 0);
}

function setRow(row) {
  $("row").value = row;
  $("row-text").textContent = `${row} of ${SIDE} rows`;
  for (const digit of digits) digit.paint?.(row);
}

function stop() { clearInterval(playing); playing = 0; $("play").textContent = "Play"; }

function play() {
  if (playing) return stop();
  setRow(1);
  $("play").textContent = "Stop";
  playing = setInterval(() => { const row = Number($("row").value); if (row < SIDE) setRow(row + 1); else stop(); }, 110);
}

async function open(file) {
  if (!file) return;
  try {
    const bitmap = await createImageBitmap(file), image = document.createElement("canvas");
    const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
    image.width = Math.max(1, Math.round(bitmap.width * scale));
    image.height = Math.max(1, Math.round(bitmap.height * scale));
    image.getContext("2d").drawImage(bitmap, 0, 0, image.width, image.height);
    history.push({ image, file, width: image.width, height: image.height, pixels: bitmap.width * bitmap.height });
    bitmap.close();
    show({});
    changed();
  } catch {
    show({ error: `cannot show ${file.name}: not a picture, or of a kind that the browser does not know` });
  }
}

function point(event) {
  const { left, top, width } = canvas.getBoundingClientRect();
  return [(event.clientX - left) / width, (event.clientY - top) / width];
}

canvas.addEventListener("pointerdown", event => {
  if (event.button) return;
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  const stroke = { points: [point(event)], width: Math.max(9, 0.011 * canvas.clientWidth) / canvas.clientWidth };
  drawing.set(event.pointerId, stroke);
  history.push(stroke);
  changed();
});
canvas.addEventListener("pointermove", event => {
  const stroke = drawing.get(event.pointerId);
  if (!stroke) return;
  const events = event.getCoalescedEvents?.() ?? [];
  stroke.points.push(...(events.length ? events : [event]).map(point));
  frame ||= requestAnimationFrame(() => { frame = 0; draw(); });
});
for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, event => { if (drawing.delete(event.pointerId)) changed(); });

function undo() { if (history.length && !drawing.size) { history.pop(); changed(); } }
$("undo").addEventListener("click", undo);
$("clear").addEventListener("click", () => { history.push({ cleared: true }); changed(); });
$("open").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", event => { open(event.target.files[0]); event.target.value = ""; });
$("play").addEventListener("click", play);
$("row").addEventListener("input", event => { stop(); setRow(Number(event.target.value)); });
addEventListener("keydown", event => { if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") { event.preventDefault(); undo(); } });
addEventListener("paste", event => open(event.clipboardData.files[0]));
addEventListener("dragover", event => { event.preventDefault(); sheet.classList.add("over"); });
addEventListener("dragleave", event => { if (!event.relatedTarget) sheet.classList.remove("over"); });
addEventListener("drop", event => { event.preventDefault(); sheet.classList.remove("over"); open(event.dataTransfer.files[0]); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { draw(); setRow(Number($("row").value)); });
new ResizeObserver(draw).observe(sheet);
