// register.js: the page that makes an account; the server logs the new user in at once.
import { register } from "./api.js";
import { open } from "./door.js";
import { ready } from "./prefs.js";

open({
  context: "register",
  go: "register.go",
  going: "register.going",
  send: ({ name = "", password = "", nickname = "" }) => {
    const called = nickname.trim();
    return register({ name: name.trim(), password, ...(called ? { nickname: called } : {}) });
  },
});
ready("register.title");
