// Binary messages of the kernel as arrays. The bytes may start anywhere in a message, and a typed array must start at
// a multiple of its size: hence the copies.

const copyOf = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);

function rowsOf(all, count) {
  const width = all.length / count;
  return Array.from({ length: count }, (_, n) => all.subarray(n * width, (n + 1) * width));
}

export const float32s = (view) => new Float32Array(copyOf(view));
export const float64s = (view) => new Float64Array(copyOf(view));
export const float32Rows = (view, count) => rowsOf(float32s(view), count);
export const float64Rows = (view, count) => rowsOf(float64s(view), count);
export const pictureUrl = (view) => URL.createObjectURL(new Blob([view], { type: "image/png" }));
