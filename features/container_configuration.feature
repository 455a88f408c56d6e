Feature: The container's configuration gives Docker what it needs

  The plan does not say it, and nothing works without it: nested mounts, /dev/fuse and the
  profile, each in effect and not only in the file. Keyrings (keyctl) are advice.

  @id:entries @container @req:VAL-1
  Scenario: No mount entry is cut short
    Then every mount entry of the container is whole

  @id:in-effect @container @req:VAL-1
  Scenario: The container's configuration is in effect
    Then the container is given the features that the plan names
    And every line of the container's configuration is in effect

  @id:given @default_plan @container @req:VAL-1
  Scenario: The container is given what Docker needs
    Then the container is given "nesting, fuse"

  @id:there @default_plan @container @req:VAL-1
  Scenario: What was given is there
    Given the container is running
    Then the container can open /dev/fuse for reading and writing

  @id:unprivileged @container @req:VAL-1
  Scenario: The container is unprivileged
    Given the container is running
    Then the container is configured as unprivileged
    And root in the container is an ordinary user on the node

  @id:mapped @container @req:VAL-1
  Scenario: Every id that an image may use is mapped
    Given the container is running
    Then every user and group from 0 to 65535 is mapped
