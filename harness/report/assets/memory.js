'use strict'
// A click widens a frame to the whole width; the root brings everything back.
const frames = [...document.querySelectorAll('.frame')]
function zoom (left, width) {
  for (const frame of frames) {
    const from = (Number(frame.dataset.left) - left) / width
    const size = Number(frame.dataset.width) / width
    const start = Math.max(0, from)
    const end = Math.min(1, from + size)
    frame.style.left = `${start * 100}%`
    frame.style.width = `${Math.max(0, end - start) * 100}%`
    frame.hidden = end - start <= 0
  }
}
for (const frame of frames) {
  frame.addEventListener('click', () => zoom(Number(frame.dataset.left), Number(frame.dataset.width)))
}
