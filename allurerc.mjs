// How npm's allure renders the gate's results: the verdicts are its categories.
export default {
  name: "Docker in unprivileged LXC",
  categories: [
    { name: "Not compliant", matchers: { statuses: ["failed"] } },
    { name: "Undetermined", matchers: { statuses: ["broken", "unknown"] } },
    { name: "Not asked", matchers: { statuses: ["skipped"] } },
  ],
  plugins: {
    awesome: {
      options: { singleFile: true, groupBy: ["epic"], defaultSortBy: "status,asc" }, // epic: a clause
    },
  },
  // What concerns the machine that ran pytest, not the target, or stands elsewhere on the page.
  hideLabels: ["host", "thread", "framework", "language", "package", "parentSuite", "suite"],
};
