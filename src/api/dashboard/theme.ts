/** Light, dark, or as the system has it; remembered on this machine. */
import { setText } from "./dom.js";

const storageKey = "minid-theme";
const themes = ["auto", "light", "dark"] as const;
type Theme = (typeof themes)[number];

export function themeButton(button: HTMLButtonElement): void {
  const known = localStorage.getItem(storageKey);
  let theme: Theme = themes.find((candidate) => candidate === known) ?? "auto";
  const show = (): void => {
    if (theme === "auto") document.documentElement.removeAttribute("data-theme");
    else document.documentElement.setAttribute("data-theme", theme);
    setText(button, { auto: "◐ Auto", light: "☀ Light", dark: "☾ Dark" }[theme]);
    button.setAttribute("aria-label", `Colours: ${theme}`);
  };
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length] ?? "auto";
    localStorage.setItem(storageKey, theme);
    show();
  });
  show();
}
