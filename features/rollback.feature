Feature: What the plan changed in a container can be taken back

  The letter of the plan (remove daemon.json, purge fuse-overlayfs, restart) leaves a Docker that
  does not start, because it finds the layers of two drivers.

  @node @container @mutates @req:BACK-1
  Scenario: A container that had Docker before gets it back as it was
    Given another container runs Docker on its default driver
    When the plan is applied to it
    Then its Docker runs on "fuse-overlayfs" and can run hello-world
    When the plan is taken back
    Then node and container are as they were before the plan
    And its Docker runs on its former driver, with its former image and container
