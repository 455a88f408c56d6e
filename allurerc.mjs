// How npm's allure renders the gate's results: the verdicts, by cause, are its categories.
const causes = [
  "Version of runc", "Confinement and denials", "Configuration", "Docker does not run", "Storage",
  "Other causes", "Could not tell",
];
export default {
  name: "Docker in unprivileged LXC",
  categories: [
    { name: "Waived", matchers: { labels: { tag: "^waived$" } }, groupBy: ["owner"] },
    ...causes.map((cause) => ({ name: cause, matchers: { labels: { cause: `^${cause}$` } } })),
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
