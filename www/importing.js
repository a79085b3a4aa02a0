//! Imports modules when they are wanted, and lets a failed import be tried again.

/**
 * Imports modules, of which `first` is the URL of one. A browser that could not load a module may fail at once when it is asked for it
 * again, as long as the page is open. So nothing is imported before the server has answered.
 *
 * @template T
 * @param {URL} first
 * @param {() => Promise<T>} load imports them
 * @returns {Promise<T>}
 */
export async function importServed(first, load) {
  const response = await fetch(first);
  if (!response.ok) throw new Error(`${first.pathname}: ${response.status}`);
  await response.arrayBuffer();
  return load();
}
