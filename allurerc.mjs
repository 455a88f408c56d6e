// How npm's allure renders the gate's results: the verdicts are its categories.
export default {
  name: "Docker in unprivileged LXC",
  historyLimit: 50,
  categories: [
    { name: "Not compliant", matchers: { statuses: ["failed"] } },
    { name: "Undetermined", matchers: { statuses: ["broken", "skipped", "unknown"] } },
  ],
  // What concerns the machine that ran pytest, not the target, or stands elsewhere on the page.
  hideLabels: ["host", "thread", "framework", "language", "package", "parentSuite", "suite"],
};
