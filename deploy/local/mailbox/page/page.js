// Looks for new mail every few seconds while the page is seen. The list reloads itself; a mail being read is left
// alone and the news is a link.
const SECONDS = 5;
const { newest, reading } = document.body.dataset;

for (const element of document.querySelectorAll(".origin")) element.textContent = location.origin;

async function look() {
  if (document.hidden) return;
  try {
    const reply = await fetch("/emails?limit=1");
    const { data } = await reply.json();
    if ((data[0]?.id ?? "") === newest) return;
    if (reading) document.getElementById("news").hidden = false;
    else location.reload();
  } catch {
    // The mailbox was stopped: the page stays readable, and the next look may find it again.
  }
}

setInterval(look, SECONDS * 1000);
document.addEventListener("visibilitychange", look);
