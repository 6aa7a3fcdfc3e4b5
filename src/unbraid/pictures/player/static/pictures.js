// Draws waveforms and spectrograms of a stretch of a track: {view, columns, start, stop, data}. The data of a waveform
// are the lowest and highest value of each column, of a spectrogram the levels of each bin, the highest first.

import { clock } from "./dom.js";

const LOWEST_HZ = 40;

// Fits the canvas to its place; says whether there is any.
export function fit(canvas) {
  const scale = Math.min(2, window.devicePixelRatio || 1);
  const width = Math.round(canvas.clientWidth * scale);
  const height = Math.round(canvas.clientHeight * scale);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  return width > 0 && height > 0;
}

// A picture of one stretch, drawn where another stretch is shown: while the right one is on its way, the old one serves.
export function draw(canvas, picture, start, stop, colours) {
  if (!fit(canvas)) return;
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const perSample = canvas.width / (stop - start);
  const left = (picture.start - start) * perSample;
  const width = (picture.stop - picture.start) * perSample;
  if (picture.view === "waveform") drawWaveform(pen, picture, left, width, colours);
  else drawSpectrogram(pen, picture, left, width, colours);
}

function drawWaveform(pen, picture, left, width, colours) {
  const { height } = pen.canvas;
  const middle = height / 2;
  const step = width / picture.columns;
  // Quiet recordings are drawn larger, all tracks of one alike.
  const scale = (middle - 1) / colours.peak;
  pen.fillStyle = colours.wave;
  pen.beginPath();
  const x = (column) => left + (column + 0.5) * step;
  for (let column = 0; column < picture.columns; column++) {
    const top = middle - Math.max(picture.data[2 * column + 1] * scale, 0.6);
    if (column === 0) pen.moveTo(x(0), top);
    else pen.lineTo(x(column), top);
  }
  for (let column = picture.columns - 1; column >= 0; column--) {
    pen.lineTo(x(column), middle - Math.min(picture.data[2 * column] * scale, -0.6));
  }
  pen.closePath();
  pen.fill();
}

function drawSpectrogram(pen, picture, left, width, colours) {
  if (!picture.bitmap || picture.bitmapFor !== colours.key) {
    const bitmap = document.createElement("canvas");
    const rows = picture.data.length / picture.columns;
    bitmap.width = picture.columns;
    bitmap.height = rows;
    const inner = bitmap.getContext("2d");
    const image = inner.createImageData(picture.columns, rows);
    const table = colours.table;
    for (let index = 0; index < picture.data.length; index++) {
      const level = 4 * picture.data[index];
      image.data[4 * index] = table[level];
      image.data[4 * index + 1] = table[level + 1];
      image.data[4 * index + 2] = table[level + 2];
      image.data[4 * index + 3] = table[level + 3];
    }
    inner.putImageData(image, 0, 0);
    picture.bitmap = bitmap;
    picture.bitmapFor = colours.key;
  }
  pen.imageSmoothingEnabled = true;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture.bitmap, left, 0, width, pen.canvas.height);
}

// Marks of the frequencies of a spectrogram, whose scale is logarithmic.
export function drawFrequencies(canvas, highestHz) {
  const scale = Math.min(2, window.devicePixelRatio || 1);
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  pen.font = `${10 * scale}px ${style.fontFamily}`;
  pen.textBaseline = "middle";
  for (const hz of [100, 1000, 10000]) {
    if (hz > 0.8 * highestHz) break;
    const y = canvas.height * (1 - Math.log(hz / LOWEST_HZ) / Math.log(highestHz / LOWEST_HZ));
    const text = hz < 1000 ? `${hz} Hz` : `${hz / 1000} kHz`;
    pen.fillStyle = style.getPropertyValue("--surface");
    pen.globalAlpha = 0.75;
    pen.fillRect(0, y - 7 * scale, pen.measureText(text).width + 10 * scale, 14 * scale);
    pen.globalAlpha = 1;
    pen.fillStyle = style.getPropertyValue("--soft");
    pen.fillRect(0, Math.round(y), 4 * scale, scale);
    pen.fillText(text, 7 * scale, y);
  }
}

// The colours of one track, after the scheme that the reader has chosen.
export function coloursOf(element, peak) {
  const style = getComputedStyle(element);
  const wave = style.getPropertyValue("--track").trim();
  const surface = style.getPropertyValue("--surface").trim();
  const bright = style.getPropertyValue("--strongest").trim();
  const key = `${wave} ${surface} ${bright}`;
  return { wave, peak, key, table: tableOf(key, surface, wave, bright) };
}

const tables = new Map();

// 256 colours from nothing over the track's own to the strongest.
function tableOf(key, nothing, own, strongest) {
  if (tables.has(key)) return tables.get(key);
  const strip = document.createElement("canvas");
  strip.width = 256;
  strip.height = 1;
  const pen = strip.getContext("2d", { willReadFrequently: true });
  const ramp = pen.createLinearGradient(0, 0, 256, 0);
  ramp.addColorStop(0, nothing);
  ramp.addColorStop(0.3, nothing);
  ramp.addColorStop(0.72, own);
  ramp.addColorStop(0.95, strongest);
  pen.fillStyle = ramp;
  pen.fillRect(0, 0, 256, 1);
  const table = pen.getImageData(0, 0, 256, 1).data;
  tables.set(key, table);
  return table;
}

// Marks at round times, as many as there is room for.
export function drawRuler(canvas, from, to) {
  const scale = Math.min(2, window.devicePixelRatio || 1);
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (width === 0) return;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const style = getComputedStyle(canvas);
  pen.fillStyle = style.color;
  pen.font = `11px ${style.fontFamily}`;
  pen.textBaseline = "middle";
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
  const step = steps.find((one) => (one / (to - from)) * width >= 64) ?? 3600;
  const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  for (let mark = Math.ceil(from / step - 1e-9); mark * step <= to; mark++) {
    const time = mark * step;
    const x = ((time - from) / (to - from)) * width;
    pen.globalAlpha = 0.45;
    pen.fillRect(Math.round(x), height - 6, 1, 6);
    const text = digits ? `${clock(time)}${(time - Math.floor(time + 1e-6)).toFixed(digits).slice(1)}` : clock(time);
    const room = pen.measureText(text).width;
    pen.globalAlpha = 1;
    if (x + 4 + room <= width) pen.fillText(text, x + 4, height / 2 - 1);
  }
}
