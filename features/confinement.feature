Feature: Attempts to break out are refused

  A label is a promise. One program attempts to break it, and does no harm if it succeeds. A refusal
  counts if root of the node can do the same. On a user's container, the gate only looks.

  Background:
    Given the container is running

  @id:escape @node @container @mutates @req:STEP-2.2
  Scenario: Root of the container cannot break out
    When root of the container attempts to break out
    Then what the platform and the plan's profile must refuse is refused

  @id:escape-docker @node @container @mutates @req:STEP-2.2
  Scenario: Root of a Docker container cannot break out
    Given an image of 30 layers is made of the container's own programs
    When root of a plain Docker container attempts to break out
    Then what the platform and the plan's profile must refuse is refused

  @id:escape-privileged @node @container @mutates @req:STEP-2.2
  Scenario: Root of a privileged Docker container cannot break out
    Given an image of 30 layers is made of the container's own programs
    When root of a privileged Docker container attempts to break out
    Then what the platform and the plan's profile must refuse is refused
