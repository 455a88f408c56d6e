Feature: What the plan changed can be rolled back

  A container that had Docker on its default driver before the plan, on a node that the plan has
  not touched, must be as it was afterwards: files, packages, units, processes, mounts, the
  kernel's policy, settings, modules, links and firewall, the container's configuration as written
  and as in effect, and Docker with its images and containers. What may differ is a short list in
  docker_lxc_gate/facts/machine_state.py.

  @id:tunable-back @default_plan @node @container @mutates @before_the_plan @untouched @req:BACK-3
  Scenario: The tunable is rolled back
    Given another container runs Docker on its default driver
    When "STEP-1" of the plan is applied to it and rolled back
    Then node and container are as they were before the plan

  @id:profile-back @default_plan @node @container @mutates @before_the_plan @untouched @req:BACK-2
  Scenario: The profile is rolled back, from the kernel and from the container, too
    Given another container runs Docker on its default driver
    When "STEP-2" of the plan is applied to it and rolled back
    Then node and container are as they were before the plan

  @id:docker-back @default_plan @node @container @mutates @before_the_plan @req:BACK-1
  Scenario: Docker's installation is rolled back
    Given another container runs Docker on its default driver
    When "STEP-3" of the plan is applied to it and rolled back
    Then the Docker containers that ran run again
    And node and container are as they were before the plan
    And its Docker runs on its former driver, and has what it had

  @id:rehearsed @default_plan @node @container @mutates @before_the_plan @req:BACK-1
  Scenario: The whole plan is rehearsed
    Given another container runs Docker on its default driver
    When the plan is applied to it and rolled back
    Then node and container are as they were before the plan
    When the plan is applied to it again
    Then nothing of the plan is left to do
    And its Docker runs on "fuse-overlayfs" and can run hello-world

  @id:letter @default_plan @node @container @mutates @before_the_plan @req:BACK-1
  Scenario: What the letter of the plan's rollback breaks is brought back
    Given the plan is applied to another container
    When daemon.json is removed, fuse-overlayfs purged and Docker restarted, as the plan says
    Then Docker does not start, and the profile is still in the kernel
    When the plan is rolled back, over what was changed by hand
    Then node and container are as they were before the plan
    And its former container starts
