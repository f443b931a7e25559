// Runs before everything else on the page: what goes wrong from here on is told.
"use strict";
window.found = { errors: [] };
addEventListener("error", (event) => found.errors.push(`error: ${event.message}`));
addEventListener("unhandledrejection", (event) => found.errors.push(`rejection: ${event.reason}`));
addEventListener("securitypolicyviolation", (event) => found.errors.push(`refused: ${event.violatedDirective} ${event.blockedURI}`));
for (const name of ["error", "warn"]) console[name] = (...words) => found.errors.push(`console: ${words.join(" ")}`);
