// login.js: the log-in page.
import { login } from "./api.js";
import { open } from "./door.js";
import { find } from "./dom.js";
import { ready } from "./prefs.js";

open({
  context: "login",
  go: "login.go",
  going: "login.going",
  send: ({ name = "", password = "", code = "" }) => login({
    name: name.trim(), password, ...(code.trim() === "" ? {} : { code: code.replace(/\s/g, "") }),
  }),
});
find("#ended").hidden = !new URLSearchParams(location.search).has("ended");
ready("login.title");
