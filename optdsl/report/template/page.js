// Draws the figures; the test of the page waits for data-figures.
const root = document.documentElement;
const specifications = JSON.parse(document.getElementById("figures").textContent);
const options = {
  ast: true,
  renderer: "svg",
  actions: { export: true, source: false, compiled: false, editor: false },
};
const drawn = Object.entries(specifications).map(([name, specification]) =>
  vegaEmbed(document.getElementById(name), specification, options));
Promise.all(drawn).then(
  () => { root.dataset.figures = "drawn"; },
  (error) => { root.dataset.figures = "failed"; console.error(error); },
);
